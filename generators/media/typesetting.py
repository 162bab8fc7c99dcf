"""Typesetting of pages and labels with Typst, whose wheel contains its fonts: Libertinus Serif for Latin, Greek,
Cyrillic and Hebrew, with fallbacks for Arabic, Armenian, Georgian and Devanagari. Another wheel has Noto Sans CJK for
Chinese, Japanese and Korean. A character without a glyph there (Thai, emoji) is shown as a box, the same on every
machine, because no system font is used.

Users' texts reach Typst as data, never as its source.
"""

import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from tools.errors import Invalid
from tools.media.sandbox import run_in_child

T = TypeVar("T")
EXTRA = "media"
FONTS = "noto_cjk_sans_otc"
"""A module that contains only fonts."""
WORK_SECONDS = 100.0
GLYPH = re.compile(r'<use xlink:href="(#[^"]+)"')
UNKNOWN = "\U000f0000"
PROBE = """
#set page(width: 1000pt, height: auto)
#set text(font: ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono"))
#for c in json("data.json") [#box(c)\\ ]
"""
LONG_WORD = re.compile(r"(\S{32})(?=\S{8})")


async def in_press(function: Callable[..., T], *args: object) -> T:
    """Run a typesetting or film function in the child process with limited time and memory.

    Fails: Invalid (`render_too_large`) when it exceeds these limits · Unavailable.
    """
    try:
        return await run_in_child(function, *args, seconds=WORK_SECONDS)
    except Invalid as error:
        if error.code != "image_rejected":
            raise
        raise Invalid(
            "this needs more time or memory than is allowed; choose fewer images", code="render_too_large"
        ) from error


def check_installed(modules: tuple[str, ...]) -> None:
    """Check that the modules can be imported. Fails: Invalid (`not_installed`) naming the extra."""
    if not all(map(find_spec, modules)):
        raise Invalid(f"this kind needs the extra [{EXTRA}] of the package", code="not_installed")


def pdf(source: bytes, data: object, files: Mapping[str, bytes]) -> bytes:
    """The document as PDF; its source reads `files` by name and the data as `data.json`. Runs in the child."""
    (document,) = _compiled(source, data, files, "pdf")
    return document


def labels(source: bytes, data: object) -> list[bytes]:
    """Each page as a PNG of one pixel per point. Runs in the child."""
    return _compiled(source, data, {}, "png")


def breakable(text: str) -> str:
    """The text with break opportunities in words that are longer than a line."""
    return LONG_WORD.sub("\\1\u200b", text)


def unshown(text: str) -> int:
    """How many different characters of the text have no glyph in any font of Typst. Runs in the child."""
    characters = sorted({c for c in text if ord(c) > 0x24F and unicodedata.category(c)[0] not in "CMZ"})
    if not characters:
        return 0
    drawn = [GLYPH.findall(line)[:1] for line in _lines([UNKNOWN, *characters])]
    return drawn[1:].count(drawn[0])


def _lines(characters: list[str]) -> list[str]:
    """The SVG drawing of each character, separately."""
    (image,) = _compiled(PROBE.encode(), characters, {}, "svg")
    return image.decode().split('<g transform="matrix(1 0 0 -1')[1:]


def _compiled(
    source: bytes, data: object, files: Mapping[str, bytes], kind: Literal["pdf", "png", "svg"]
) -> list[bytes]:
    # Imported here, so that only the child process needs the 80 MB.
    import typst

    with tempfile.TemporaryDirectory(prefix="picasso-") as folder:
        for name, content in {"main.typ": source, "data.json": msgspec.json.encode(data), **files}.items():
            Path(folder, name).write_bytes(content)
        fonts = find_spec(FONTS)
        folders = [*(fonts.submodule_search_locations or [])] if fonts else []
        main = str(Path(folder, "main.typ"))
        compiler = typst.Compiler(main, root=folder, ignore_system_fonts=True, font_paths=folders)
        made = compiler.compile(format=kind, ppi=72.0)
    return [page for page in (made if isinstance(made, list) else [made]) if page is not None]
