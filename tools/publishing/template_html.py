"""A user's template: HTML with `{{PLACEHOLDERS}}` and no code.

It is parsed once, in linear time, into a balanced list of tags and texts: the context of every placeholder is known,
and a parser of the written page finds no element left open or deeply nested that it would have to repair. What may
stay on a page is decided later, by the cleaner in `generators/shared/template_page.py`.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import msgspec

from tools.errors import Invalid, TooLarge

TEMPLATE_BYTES = 64 << 10
DEEPEST = 100
VALUE_LENGTH = 10_000
PAGE_LENGTH = 1 << 20
"""Characters that a page may have before it is cleaned: a long value may occur thousands of times."""
STYLE_LENGTH = 2 * TEMPLATE_BYTES
"""Of these, characters of CSS, in the sheet and in attributes: they are more expensive to clean than text."""

PLACEHOLDER = re.compile(r"\{\{[ \t]{0,8}([A-Z][A-Z0-9_]{0,63})[ \t]{0,8}\}\}")
MARK = re.compile(r"<(?:(?P<comment>!--)|(?P<tag>/?[A-Za-z][^\s/>]*)|[!?/])")
COMMENT_END = re.compile(r"--!?>|\Z")
ATTRIBUTE = re.compile(
    r"[\s/]*(?:(?P<end>>|\Z)|(?P<name>[^\s/>][^\s/>=]*)"
    r"(?:\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^\s>\"'][^\s>]*))?)?)"
)
COLOUR_OR_SIZE = re.compile(r"[A-Za-z0-9#%., +-]*|(?:rgb|hsl)a?\([0-9a-z%., /-]*\)")


def words(text: str) -> frozenset[str]:
    """The words of a text that is separated by white space."""
    return frozenset(text.split())


VOID = words("area base br col embed hr img input link meta source track wbr")
HEADINGS = words("h1 h2 h3 h4 h5 h6")
BLOCKS = HEADINGS | words("""
    address article aside blockquote details div dl fieldset figcaption figure footer form header hr main nav ol
    p pre section table ul
""")
SILENT = words("""
    audio canvas iframe math noembed noframes noscript object plaintext script select style svg template
    textarea title video xmp
""")
"""Elements whose content is no text of the body; the content of `style` and `title` is kept separately."""
TABLE = {
    "caption": {"table"},
    "colgroup": {"table"},
    "col": {"table", "colgroup"},
    "thead": {"table"},
    "tbody": {"table"},
    "tfoot": {"table"},
    "tr": {"table", "thead", "tbody", "tfoot"},
    "td": {"table", "thead", "tbody", "tfoot", "tr"},
    "th": {"table", "thead", "tbody", "tfoot", "tr"},
}
"""Parts of tables, and their possible parents."""
WALLS = words("table td th caption")
"""A tag inside one of these closes no element outside of it."""
ITEMS = {"li": ({"li"}, {"ul", "ol"}), "dt": ({"dt", "dd"}, {"dl"}), "dd": ({"dt", "dd"}, {"dl"}), "a": ({"a"}, set())}
"""Elements that implicitly close a preceding one: which tags they close, and where the search ends."""
ADDRESSES = words("action background cite data formaction href longdesc poster src srcset")


class Slot(msgspec.Struct, frozen=True):
    """A placeholder in a text or an attribute."""

    name: str


Pieces = tuple[str | Slot, ...]


class Open(msgspec.Struct, frozen=True):
    """A start tag; names are in lower case, and of a repeated attribute the first one counts."""

    tag: str
    attributes: dict[str, Pieces]


class End(msgspec.Struct, frozen=True):
    """An end tag."""

    tag: str


class Text(msgspec.Struct, frozen=True):
    """Text between tags, with its placeholders."""

    pieces: Pieces


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed template. `body` is balanced; `placeholders` are in the order of their first occurrence."""

    lang: str
    title: Pieces
    style: Pieces
    body: tuple[Open | End | Text, ...]
    placeholders: tuple[str, ...]

    def addresses(self) -> Iterator[str]:
        """The image addresses that the template itself contains."""
        for node in self.body:
            if isinstance(node, Open) and node.tag == "img":
                for piece in node.attributes.get("src", ()):
                    if isinstance(piece, str):
                        yield piece


class Image(msgspec.Struct, frozen=True):
    """The value of an image placeholder; `alt` is for an `<img>` without one."""

    url: str
    alt: str


class Written(msgspec.Struct, frozen=True):
    """A template with its values, not cleaned: `title` is text, `style` is CSS, `body` is HTML."""

    title: str
    style: str
    body: str


def is_image(name: str) -> bool:
    """Whether a placeholder is for an image instead of text."""
    return name == "IMAGE" or name.startswith("IMAGE_")


def check_value(name: str, value: str) -> None:
    """Check the length of a placeholder's value. Fails: TooLarge."""
    if len(value) > VALUE_LENGTH:
        detail = {"placeholder": name, "maxLength": VALUE_LENGTH}
        raise TooLarge(f"{name} is limited to {VALUE_LENGTH} characters", code="value_too_large", detail=detail)


def read(text: str) -> Template:
    """Parse the text of a template.

    Fails: TooLarge over 64 KiB · Invalid (`template_nesting`) for elements nested more than 100 deep.
    """
    if len(text) > TEMPLATE_BYTES or len(text.encode("utf-8", "surrogatepass")) > TEMPLATE_BYTES:
        detail = {"maxBytes": TEMPLATE_BYTES}
        raise TooLarge("a template is limited to 64 KiB", code="template_too_large", detail=detail)
    # Some editors begin a file with a byte order mark; the page would show it as an empty line.
    reader = _Reader(text.removeprefix("\ufeff"))
    reader.run()
    return Template(
        lang=reader.lang,
        title=tuple(reader.title),
        style=tuple(reader.style),
        body=tuple(reader.body),
        placeholders=tuple(reader.placeholders),
    )


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._open: list[str] = []
        self.lang = ""
        self.title: list[str | Slot] = []
        self.style: list[str | Slot] = []
        self.body: list[Open | End | Text] = []
        self.placeholders: dict[str, None] = {}

    def run(self) -> None:
        while (mark := MARK.search(self._text, self._at)) is not None:
            self._add_text(self._text[self._at : mark.start()])
            self._at = mark.end()
            if mark["comment"]:
                self._skip(COMMENT_END)
            elif not mark["tag"]:
                self._skip(re.compile(r">|\Z"))
            elif mark["tag"].startswith("/"):
                self._attributes()
                self._end(mark["tag"][1:].lower())
            else:
                self._start(mark["tag"].lower(), self._attributes())
        self._add_text(self._text[self._at :])
        self._close(0)

    def _skip(self, until: re.Pattern[str]) -> str:
        """Move behind the next match of the pattern and return the text before it."""
        found = until.search(self._text, self._at)
        assert found is not None
        before, self._at = self._text[self._at : found.start()], found.end()
        return before

    def _attributes(self) -> dict[str, str]:
        attributes: dict[str, str] = {}
        while (found := ATTRIBUTE.match(self._text, self._at)) is not None:
            self._at = found.end()
            if found["end"] is not None:
                break
            value = next((found[quoting] for quoting in ("double", "single", "bare") if found[quoting]), "")
            attributes.setdefault(found["name"].lower(), value)
        return attributes

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in SILENT:
            self._keep_aside(tag, self._skip(re.compile(rf"</{tag}(?=[\s/>])|\Z", re.IGNORECASE)))
            self._attributes()
        elif tag == "html":
            self.lang = self.lang or attributes.get("lang", "")
        elif tag not in ("head", "body"):
            self._make_room(tag)
            if tag not in TABLE or "table" in self._open:
                self.body.append(Open(tag, {name: self._pieces(value) for name, value in attributes.items()}))
                if tag not in VOID:
                    self._push(tag)

    def _keep_aside(self, tag: str, content: str) -> None:
        if tag == "style":
            # CSS has no character references.
            self.style += [*self._split(content), "\n"]
        elif tag == "title" and not self.title:
            self.title += self._pieces(content)

    def _push(self, tag: str) -> None:
        self._open.append(tag)
        if len(self._open) > DEEPEST:
            detail = {"maxDepth": DEEPEST}
            raise Invalid(
                f"elements are nested more than {DEEPEST} deep, or left open",
                code="template_nesting",
                detail=detail,
            )

    def _make_room(self, tag: str) -> None:
        """Close the elements that a start tag implicitly closes, as browsers do."""
        if tag in TABLE:
            if "table" in self._open:
                depth = len(self._open)
                while self._open[depth - 1] not in TABLE[tag]:
                    depth -= 1
                self._close(depth)
            return
        if tag in BLOCKS:
            self._close_last({"p"}, WALLS)
        if tag in ITEMS:
            predecessors, ends = ITEMS[tag]
            self._close_last(predecessors, WALLS | ends)
        if tag in HEADINGS and self._open and self._open[-1] in HEADINGS:
            self._close(len(self._open) - 1)

    def _end(self, tag: str) -> None:
        if tag in self._open:
            walls = frozenset({"table"}) if tag in TABLE or tag == "table" else WALLS
            self._close_last({tag}, walls - {tag})

    def _close_last(self, tags: set[str], walls: frozenset[str]) -> None:
        """Close the innermost element with one of the tags, and all open inside it; the search stops at a wall."""
        for depth in reversed(range(len(self._open))):
            if self._open[depth] in tags:
                self._close(depth)
                return
            if self._open[depth] in walls:
                return

    def _close(self, depth: int) -> None:
        self.body += [End(tag) for tag in reversed(self._open[depth:])]
        del self._open[depth:]

    def _add_text(self, text: str) -> None:
        if text:
            self.body.append(Text(self._pieces(text)))

    def _pieces(self, text: str) -> Pieces:
        """Text with character references decoded; braces written as references form no placeholder."""
        return tuple(html.unescape(piece) if isinstance(piece, str) else piece for piece in self._split(text))

    def _split(self, text: str) -> Iterator[str | Slot]:
        at = 0
        for found in PLACEHOLDER.finditer(text):
            if found.start() > at:
                yield text[at : found.start()]
            self.placeholders.setdefault(found[1])
            yield Slot(found[1])
            at = found.end()
        if at < len(text):
            yield text[at:]


def write(template: Template, values: Mapping[str, str], images: Mapping[str, Image]) -> Written:
    """The template with its values, each escaped for its context. Values are not searched for placeholders.

    Every placeholder must be in one of the mappings.
    Fails: TooLarge when the page, or the CSS in it, becomes longer than allowed.
    """
    writer = _Writer(values, images)
    body = [writer.node(node) for node in template.body]
    return Written(writer.join(template.title, str), writer.style(template.style), "".join(body))


class _Writer:
    def __init__(self, values: Mapping[str, str], images: Mapping[str, Image]) -> None:
        self._values, self._images = values, images
        self._left, self._style_left = PAGE_LENGTH, STYLE_LENGTH

    def node(self, node: Open | End | Text) -> str:
        match node:
            case Open():
                return f"<{node.tag}{''.join(self._attributes(node))}>"
            case End():
                return f"</{node.tag}>"
            case Text():
                return "".join(self._text(node.pieces))

    def join(self, pieces: Pieces, escape: Callable[[str], str]) -> str:
        return "".join(self._spent(escape(self._value(p.name)) if isinstance(p, Slot) else p) for p in pieces)

    def style(self, pieces: Pieces) -> str:
        css = self.join(pieces, css_value)
        self._style_left -= len(css)
        if self._style_left < 0:
            detail = {"maxLength": STYLE_LENGTH}
            raise TooLarge("the page's style would become too large", code="page_too_large", detail=detail)
        return css

    def _attributes(self, node: Open) -> Iterator[str]:
        for name, pieces in node.attributes.items():
            if name in ADDRESSES:
                value = self.join(pieces[:1], str.strip) + self.join(pieces[1:], _within_address)
            else:
                value = self.style(pieces) if name == "style" else self.join(pieces, str)
            yield f' {name}="{html.escape(value)}"'
        source = node.attributes.get("src", ())
        if node.tag == "img" and "alt" not in node.attributes and len(source) == 1 and isinstance(source[0], Slot):
            image = self._images.get(source[0].name)
            yield f' alt="{html.escape(image.alt if image else "")}"'

    def _text(self, pieces: Pieces) -> Iterator[str]:
        for piece in pieces:
            if isinstance(piece, Slot) and (image := self._images.get(piece.name)) is not None:
                yield self._spent(f'<img src="{html.escape(image.url)}" alt="{html.escape(image.alt)}">')
            else:
                yield self._spent(html.escape(self._value(piece.name) if isinstance(piece, Slot) else piece))

    def _value(self, name: str) -> str:
        return self._images[name].url if name in self._images else self._values[name]

    def _spent(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise TooLarge("the page would become too large", code="page_too_large", detail={"maxLength": PAGE_LENGTH})
        return text


def css_value(value: str) -> str:
    """A value for CSS: a colour, size or word is unchanged; in other values every special character is escaped."""
    if COLOUR_OR_SIZE.fullmatch(value):
        return value
    return re.sub(r"[^A-Za-z0-9]", lambda char: f"\\{ord(char[0]):x} ", value)


def _within_address(value: str) -> str:
    return quote(value, safe="", errors="replace")
