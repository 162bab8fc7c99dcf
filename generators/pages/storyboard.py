"""A storyboard: images as numbered frames in order with captions, six to a sheet that prints on one A4 page."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import MOST, RATIOS, Selection, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PER_SHEET = 6
CAPTION_SHOWN = 170
FRAMES = ("16x9", "3x2", "4x3", "1x1", "3x4", "2x3", "9x16")

Caption = Annotated[str, Meta(max_length=600)]


class StoryboardOptions(Selection, frozen=True, kw_only=True):
    """`captions` stand under the frames in their order; where there is none or an empty one, the prompt does.
    `seconds` is how long each frame is held and gives them times. `frame` is the shape of all frames: that of most
    images unless told; an image of another shape is shown whole within it."""

    intro: Annotated[str, Meta(max_length=2000)] | None = None
    captions: Annotated[list[Caption], Meta(max_length=MOST)] = []
    seconds: Annotated[int, Meta(ge=1, le=600)] | None = None
    frame: Literal["auto", "16x9", "3x2", "4x3", "1x1", "3x4", "2x3", "9x16"] = "auto"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    picture: page.Picture
    caption: str
    more: str
    time: str
    slug: str


class Sheet(msgspec.Struct, frozen=True):
    """One printed page."""

    number: int
    project: str
    frames: list[Frame]


class Storyboard:
    """Without images: a page that says so."""

    id = "storyboard"
    name = "Storyboard"
    output: Literal["html"] = "html"
    options = StoryboardOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: StoryboardOptions
    ) -> Output:
        shown = await image_pages.collect(env, projects, options)

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, shown, options, env.settings.public_url)

        return await image_pages.web_page(env, "storyboard.html", image_pages.all_rows(shown), written)


generator = Storyboard()


def write(template: bytes, title: str, shown: Sequence[Shown], options: StoryboardOptions, public_url: str) -> bytes:
    """The page. It depends on nothing but its arguments."""
    rows = image_pages.all_rows(shown)
    context = {
        "title": title,
        "intro": options.intro or (shown[0].project.description if len(shown) == 1 else None),
        "frame": options.frame if options.frame != "auto" else common_frame(rows),
        "count": len(rows),
        "length": clock(len(rows) * options.seconds) if options.seconds else "",
        "sheets": list(sheets(shown, options, public_url)),
        "notes": [(part.project.name, note) for part in shown if (note := image_pages.note(part, options))],
        "several": len(shown) > 1,
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def common_frame(rows: Sequence[Progression]) -> str:
    """The shape among `FRAMES` that fits most images; the wider one of equals."""
    fitting = Counter(min(FRAMES, key=lambda name: abs(RATIOS[name] * row.height / row.width - 1)) for row in rows)
    return max(FRAMES, key=lambda name: fitting[name])


def sheets(shown: Sequence[Shown], options: StoryboardOptions, public_url: str) -> Iterator[Sheet]:
    """Six frames at a time; each project begins on a sheet of its own, frame numbers run through."""
    frames = _frames(image_pages.all_rows(shown), options, public_url)
    numbers = itertools.count(1)
    for part in shown:
        for first in range(0, len(part.rows), PER_SHEET):
            few = list(itertools.islice(frames, min(PER_SHEET, len(part.rows) - first)))
            yield Sheet(next(numbers), part.project.name, few)


def _frames(rows: Sequence[Progression], options: StoryboardOptions, public_url: str) -> Iterator[Frame]:
    captions = itertools.chain(options.captions, itertools.repeat(""))
    for number, (row, wish) in enumerate(zip(rows, captions, strict=False), 1):
        caption, more = image_pages.cut(wish.strip() or row.prompt, CAPTION_SHOWN)
        yield Frame(
            number=number,
            picture=image_pages.picture(row, public_url),
            caption=caption,
            more=more,
            time=_time(number, options.seconds),
            slug=image_pages.maker(row),
        )


def _time(number: int, seconds: int | None) -> str:
    return f"{clock((number - 1) * seconds)} – {clock(number * seconds)}" if seconds else ""


def clock(seconds: int) -> str:
    """`2:05`, and `1:02:05` from an hour on."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
