"""CSS of a user's template: only what is known to load nothing and run nothing is kept.

`tinycss2` parses it by CSS Syntax Level 3. The output is written anew from an allow-list: a declaration that contains
anything else (an address, another function, a delimiter unknown to CSS) is dropped as a whole, and so is a rule with
such a selector.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import tinycss2
from tinycss2 import ast
from tinycss2.color4 import parse_color

from tools.publishing.template_html import Open, Pieces, Slot, Template, css_value, words

IDENT = re.compile(r"-?[A-Za-z_][A-Za-z0-9_-]*|--[A-Za-z0-9_-]+")
HASH = re.compile(r"[A-Za-z0-9_-]+")
UNIT = re.compile(r"[A-Za-z]+|[Nn]-[0-9]*")
"""The unit of a number, or the `n` of `2n-1`."""
OF_A_COLOUR = re.compile(
    r"(?:^|[;{\s/])(?:[a-z-]*color|background|fill|stroke|--[a-z0-9-]*colou?r[a-z0-9-]*)\s*:\s*$", re.IGNORECASE
)
"""What stands before a value that is a colour."""
SIGNS = words("|| ^= $= *= ~= |= : , > + ~ * / . = | ! & % # -")
FUNCTIONS = words("""
    abs acos asin atan blur brightness calc circle clamp color color-mix conic-gradient contrast cos counter
    counters cubic-bezier drop-shadow ellipse fit-content grayscale hsl hsla hue-rotate hwb inset invert lab lch
    light-dark linear linear-gradient matrix matrix3d max min minmax mod oklab oklch opacity perspective polygon
    radial-gradient rem repeat repeating-conic-gradient repeating-linear-gradient repeating-radial-gradient rgb
    rgba rotate rotate3d rotatex rotatey rotatez round saturate scale scale3d scalex scaley sepia sin skew skewx
    skewy sqrt steps tan translate translate3d translatex translatey translatez var
""")
SELECTING = words("dir has is lang not nth-child nth-last-child nth-last-of-type nth-of-type where")
GROUPS = words("media supports layer container keyframes -webkit-keyframes")
"""At-rules that contain rules and load nothing; `@page` and `@property` contain declarations."""
LISTS = words("page property")
NEVER = words("behavior -moz-binding src")
DEEPEST = 8
"""Levels of nested rules, and of nested brackets."""
LONG_NUMBER = re.compile(r"(?<![0-9])[0-9]{1000,}")
UNSAFE = re.compile(r"[\x00-\x1f\"\\<>&\x7f]")


class Unlisted(Exception):
    """A token or rule that is not on the allow-list."""


def clean_sheet(css: str) -> str:
    """The allowed rules of a style sheet. Cleaning the result again changes nothing; it contains `<` only in `<=`."""
    return "".join(_rules(tinycss2.parse_stylesheet(_read(css)), 0))


def clean_declarations(css: str) -> str:
    """The allowed declarations of a `style` attribute."""
    return ";".join(_declarations(_read(css)))


def _read(css: str) -> list[ast.Node]:
    # Python converts no integer of more than 4,300 digits.
    return tinycss2.parse_component_value_list(LONG_NUMBER.sub("0", css))


def _rules(nodes: Iterable[ast.Node], depth: int) -> Iterator[str]:
    for node in nodes:
        try:
            match node:
                case ast.QualifiedRule():
                    head = _written(node.prelude, SELECTING)
                    if head and (kept := ";".join(_declarations(node.content))):
                        yield f"{head}{{{kept}}}"
                case ast.AtRule(lower_at_keyword=name, content=list(content)) if name in GROUPS and depth < DEEPEST:
                    head = _written(node.prelude, SELECTING | FUNCTIONS)
                    kept = "".join(_rules(tinycss2.parse_rule_list(content), depth + 1))
                    yield f"@{name}{head and ' '}{head}{{{kept}}}"
                case ast.AtRule(lower_at_keyword=name, content=list(content)) if name in LISTS:
                    head = _written(node.prelude, frozenset())
                    yield f"@{name}{head and ' '}{head}{{{';'.join(_declarations(content))}}}"
        except Unlisted:
            continue


def _declarations(content: Sequence[ast.Node]) -> Iterator[str]:
    """The allowed declarations; nested rules are dropped."""
    for part in tinycss2.parse_blocks_contents(content):
        if not isinstance(part, ast.Declaration) or part.lower_name in NEVER or not IDENT.fullmatch(part.name):
            continue
        try:
            if value := _written(part.value, FUNCTIONS):
                yield f"{part.name}:{value}{' !important' if part.important else ''}"
        except Unlisted:
            continue


def _written(nodes: Sequence[ast.Node], functions: frozenset[str]) -> str:
    """The nodes as text, without white space at the ends.

    Fails: Unlisted.
    """
    return "".join(_pieces(nodes, functions, 0)).strip()


def _pieces(nodes: Sequence[ast.Node], functions: frozenset[str], depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise Unlisted
    for node, following in zip_longest(nodes, nodes[1:]):
        match node:
            # A comment separates its neighbours: without the space, `url/**/(` would become an address.
            case ast.WhitespaceToken() | ast.Comment():
                yield " "
            case ast.IdentToken(value=value) if IDENT.fullmatch(value):
                # `url` before a bracket would become an address, `u+a` a range of characters.
                if node.lower_value == "url" or (node.lower_value == "u" and following == "+"):
                    raise Unlisted
                yield value
            case ast.HashToken(value=value) if HASH.fullmatch(value):
                yield f"#{value}"
            case ast.StringToken(value=value):
                yield f'"{UNSAFE.sub(_escaped, value)}"'
            case ast.NumberToken(representation=number):
                yield number
            case ast.PercentageToken(representation=number):
                yield f"{number}%"
            case ast.DimensionToken(representation=number, unit=unit) if UNIT.fullmatch(unit):
                yield f"{number}{unit}"
            case ast.FunctionBlock(name=name, arguments=inner) if node.lower_name in functions:
                yield f"{name}({''.join(_pieces(inner, functions, depth + 1))})"
            case ast.ParenthesesBlock(content=inner):
                yield f"({''.join(_pieces(inner, functions, depth + 1))})"
            case ast.SquareBracketsBlock(content=inner):
                yield f"[{''.join(_pieces(inner, functions, depth + 1))}]"
            case ast.LiteralToken(value=value) if value in SIGNS or (value == "<" and following == "="):
                yield value
            case _:
                raise Unlisted


def _escaped(char: re.Match[str]) -> str:
    return f"\\{ord(char[0]):x} "


def colours_of(template: Template) -> frozenset[str]:
    """The placeholders that must be filled with a colour: each is called one, or is the whole value of one, and stands
    in CSS."""

    def found(pieces: Pieces) -> Iterator[str]:
        for before, piece in zip(("", *pieces), pieces, strict=False):
            if isinstance(piece, Slot):
                is_called = {"COLOR", "COLOUR"} & set(piece.name.split("_"))
                if is_called or (isinstance(before, str) and OF_A_COLOUR.search(before)):
                    yield piece.name

    attributes = [node.attributes.get("style", ()) for node in template.body if isinstance(node, Open)]
    return frozenset(name for pieces in (template.style, *attributes) for name in found(pieces))


def is_colour(value: str) -> bool:
    """Whether a page shows the value as a colour: `#1e1c19`, `rgb(30 28 25)`, or a name that CSS knows."""
    return css_value(value) == value and parse_color(value) is not None
