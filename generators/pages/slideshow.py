"""A slideshow: one image at a time over the whole window, by keys, touch or itself; one to a page in print."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import MOST, Selection, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Project

CAPTION_SHOWN = 240


class SlideshowOptions(Selection, frozen=True, kw_only=True):
    """`captions` stand below the images in their order, instead of the prompts; `prompts: false` leaves out the rest.
    Once it plays, each image stays `seconds`; with `autoplay` it plays from the start."""

    intro: Annotated[str, Meta(max_length=2000)] | None = None
    captions: Annotated[list[Annotated[str, Meta(max_length=600)]], Meta(max_length=MOST)] = []
    prompts: bool = True
    seconds: Annotated[int, Meta(ge=2, le=120)] = 6
    autoplay: bool = False


class Slide(msgspec.Struct, frozen=True, kw_only=True):
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
        shown = await image_pages.collect(env, projects, options)

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, shown, options, env.settings.public_url)

        return await image_pages.web_page(env, "slideshow.html", image_pages.all_rows(shown), written)


generator = Slideshow()


def write(template: bytes, title: str, shown: Sequence[Shown], options: SlideshowOptions, public_url: str) -> bytes:
    """The page. It depends on nothing but its arguments."""
    rows = image_pages.all_rows(shown)
    context = {
        "title": title,
        "intro": options.intro or (shown[0].project.description if len(shown) == 1 else None),
        "when": image_pages.period(rows),
        "seconds": options.seconds,
        "autoplay": options.autoplay,
        "slides": list(slides(shown, options, public_url)),
        "empty": None if rows else image_pages.EMPTY[options.only],
        "notes": [note for part in shown if part.rows and (note := image_pages.note(part, options))],
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def slides(shown: Sequence[Shown], options: SlideshowOptions, public_url: str) -> Iterator[Slide]:
    """The title is slide 0, so an image's number is its slide's."""
    for number, row in enumerate(image_pages.all_rows(shown), 1):
        given = options.captions[number - 1].strip() if number <= len(options.captions) else ""
        yield Slide(
            number=number,
            picture=image_pages.picture(row, public_url),
            caption=given or (image_pages.line(row.prompt, CAPTION_SHOWN) if options.prompts else ""),
            credit=image_pages.maker(row),
        )
