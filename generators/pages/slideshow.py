"""A slideshow: one image at a time in the whole window, moved by keys, touch or a timer; one to a page in print."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import MOST, VERDICTS, ClientSelection, Intro, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Project

CAPTION_SHOWN = 240


class SlideshowOptions(ClientSelection, frozen=True, kw_only=True):
    """`captions` are shown below the images in their order, instead of the prompts; `prompts: false` shows no prompts
    where captions are missing. While it plays, each image stays for `seconds`; `autoplay` plays it from the start."""

    intro: Intro = None
    captions: Annotated[list[Annotated[str, Meta(max_length=600)]], Meta(max_length=MOST)] = []
    prompts: bool = True
    seconds: Annotated[int, Meta(ge=2, le=120)] = 6
    autoplay: bool = False


class Slide(msgspec.Struct, frozen=True, kw_only=True):
    """One image on a slide of its own."""

    number: int
    picture: page.Picture
    caption: str
    credit: str


class Slideshow:
    """Without images: a page that says so."""

    id = "slideshow"
    name = "Slideshow"
    output: Literal["html"] = "html"
    options = SlideshowOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: SlideshowOptions
    ) -> Output:
        return await image_pages.selected_page(env, "slideshow.html", artifact, projects, options, write)


generator = Slideshow()


def write(template: bytes, title: str, shown: Sequence[Shown], options: SlideshowOptions) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "when": image_pages.period(rows),
        "seconds": options.seconds,
        "autoplay": options.autoplay,
        "slides": list(slides(shown, options)),
        "empty": None if rows else image_pages.EMPTY[options.only],
        "notes": [note for part in shown if part.rows and (note := image_pages.note(part, options))],
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def slides(shown: Sequence[Shown], options: SlideshowOptions) -> Iterator[Slide]:
    """The title is slide 0, so an image's number is its slide's."""
    for number, row in enumerate(image_pages.all_rows(shown), 1):
        given = options.captions[number - 1].strip() if number <= len(options.captions) else ""
        yield Slide(
            number=number,
            picture=image_pages.picture(row),
            caption=given or (image_pages.line(row.prompt, CAPTION_SHOWN) if options.prompts else ""),
            credit=image_pages.credit(row, options, *([VERDICTS[row.seen]] if options.show_verdicts else [])),
        )
