"""CSS of a user's template: what is known to load nothing and to run nothing stays, all else is left out.

A sheet is cut into tokens as CSS Syntax Level 3 does it, and written anew from those that are let through: a rule or
declaration with anything unknown in it (an address, a function that is not listed, an escape outside of a string) goes
as a whole.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tools.publishing.template_html import words

TOKEN = re.compile(
    r"(?P<comment>/\*.*?(?:\*/|\Z))"
    r"|(?P<space>\s+)"
    r"|(?P<string>\"(?:[^\"\\\n\r\f]++|\\[^\n\r\f])*+\"|'(?:[^'\\\n\r\f]++|\\[^\n\r\f])*+')"
    r"|(?P<at>@-?[A-Za-z][A-Za-z0-9-]*)"
    r"|(?P<function>-?[A-Za-z][A-Za-z0-9_-]*\()"
    r"|(?P<word>#[A-Za-z0-9_-]+|--[A-Za-z0-9_-]+|-?[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:%|[A-Za-z]+)?)"
    r"|(?P<mark><=|>=|\|\||[{}()\[\];:,>+~*/.=|^$!&%#-])"
    # A string that is never closed is one token: were it cut at each quote, it would cost the square of its length.
    r"|(?P<odd>\"(?:[^\"\\\n\r\f]++|\\[^\n\r\f])*+|'(?:[^'\\\n\r\f]++|\\[^\n\r\f])*+|.)",
    re.DOTALL,
)
FUNCTIONS = words("""
    abs acos asin atan blur brightness calc circle clamp color color-mix conic-gradient contrast cos counter
    counters cubic-bezier drop-shadow ellipse fit-content grayscale hsl hsla hue-rotate hwb inset invert lab lch
    light-dark linear linear-gradient matrix matrix3d max min minmax mod oklab oklch opacity perspective polygon
    radial-gradient rem repeat repeating-conic-gradient repeating-linear-gradient repeating-radial-gradient rgb
    rgba rotate rotate3d rotatex rotatey rotatez round saturate scale scale3d scalex scaley sepia sin skew skewx
    skewy sqrt steps tan translate translate3d translatex translatey translatez var
""")
SELECTING = words("dir has is lang not nth-child nth-last-child nth-last-of-type nth-of-type where")
GROUPS = words("@media @supports @layer @container @keyframes @-webkit-keyframes")
"""At-rules that hold rules. All others that load something are not here; `@page` and `@property` hold declarations."""
LISTS = words("@page @property")
NEVER = words("behavior -moz-binding src")
BRACKETS = {"(": ")", "[": "]"}
DEEPEST = 8
CLOSING_TAG = re.compile(r"[<>&]")


class Token(NamedTuple):
    kind: str
    text: str


def clean_sheet(css: str) -> str:
    """The rules of a style sheet that may stay. What comes out comes out unchanged the next time, and has no `<`."""
    return "".join(_rules(_tokens(css), 0))


def clean_declarations(css: str) -> str:
    """The declarations of a `style` attribute that may stay."""
    return ";".join(_declarations(_tokens(css)))


def _tokens(css: str) -> list[Token]:
    found = (Token(match.lastgroup or "odd", match[0]) for match in TOKEN.finditer(css))
    # A comment parts what stands around it: without the space, `url/**/(` would become an address.
    return [Token("space", " ") if token.kind in ("space", "comment") else token for token in found]


def _rules(tokens: Sequence[Token], depth: int) -> Iterator[str]:
    for prelude, block in _blocks(tokens):
        head = _trimmed(prelude)
        if not head or block is None or depth > DEEPEST:
            continue
        name = head[0].text.lower()
        if head[0].kind == "at":
            if name in GROUPS and _may_stand(head[1:], SELECTING | FUNCTIONS):
                yield f"{_text(head)}{{{''.join(_rules(block, depth + 1))}}}"
            elif name in LISTS and _may_stand(head[1:], frozenset()):
                yield f"{_text(head)}{{{';'.join(_declarations(block))}}}"
        elif _may_stand(head, SELECTING) and (kept := ";".join(_declarations(block))):
            yield f"{_text(head)}{{{kept}}}"


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[Sequence[Token], Sequence[Token] | None]]:
    """Each prelude with the content of its braces, or None where a semicolon ended it."""
    at = start = 0
    while at < len(tokens):
        if tokens[at].text == "{":
            end = _closing(tokens, at)
            yield tokens[start:at], tokens[at + 1 : end]
            at = start = end + 1
        else:
            at += 1
            if tokens[at - 1].text in (";", "}"):
                yield tokens[start : at - 1], None
                start = at


def _closing(tokens: Sequence[Token], at: int) -> int:
    """Where the brace that opens at `at` is closed, or the end."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += (tokens[index].text == "{") - (tokens[index].text == "}")
        if depth == 0:
            return index
    return len(tokens)


def _declarations(tokens: Sequence[Token]) -> Iterator[str]:
    for part in _parted(tokens):
        name, colon, value = _trimmed(part)[:1], _trimmed(_trimmed(part)[1:])[:1], _trimmed(_trimmed(part)[1:])[1:]
        if not name or not colon or name[0].kind != "word" or colon[0].text != ":" or name[0].text.startswith("#"):
            continue
        words = _trimmed(value)
        if words and name[0].text.lower() not in NEVER and _may_stand(words, FUNCTIONS):
            yield f"{name[0].text}:{_text(words)}"


def _parted(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Cut at semicolons; rules within a rule are dropped."""
    for prelude, block in _blocks([*tokens, Token("mark", ";")]):
        if block is None:
            yield prelude
        else:
            yield prelude[:0]


def _may_stand(tokens: Sequence[Token], functions: frozenset[str]) -> bool:
    """Whether all is known and each bracket is closed by its like."""
    expected: list[str] = []
    for token in tokens:
        if token.kind in ("odd", "at") or token.text.lower() in ("{", "}", ";", "url"):
            return False
        if token.kind == "function" and token.text[:-1].lower() not in functions:
            return False
        if token.kind == "function" or token.text in BRACKETS:
            expected.append(")" if token.kind == "function" else BRACKETS[token.text])
        elif token.text in (")", "]") and (not expected or expected.pop() != token.text):
            return False
    return not expected


def _trimmed(tokens: Sequence[Token]) -> Sequence[Token]:
    start, end = 0, len(tokens)
    while start < end and tokens[start].kind == "space":
        start += 1
    while end > start and tokens[end - 1].kind == "space":
        end -= 1
    return tokens[start:end]


def _text(tokens: Sequence[Token]) -> str:
    return "".join(_quoted(token.text) if token.kind == "string" else token.text for token in tokens)


def _quoted(string: str) -> str:
    """The string without a sign that means something in HTML."""
    return CLOSING_TAG.sub(lambda sign: f"\\{ord(sign[0]):x} ", string)
