"""A storyboard: images as numbered frames in order with captions, six to a sheet that prints on one A4 page."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import MOST, RATIOS, VERDICTS, ClientPage, Intro, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PER_SHEET = 6
CAPTION_SHOWN = 170
FRAMES = ("16x9", "3x2", "4x3", "1x1", "3x4", "2x3", "9x16")

Caption = Annotated[str, Meta(max_length=600)]


class StoryboardOptions(ClientPage, frozen=True, kw_only=True):
    """`captions` are shown under the frames in their order; a frame without a caption, or with an empty one, shows the
    prompt. `seconds` is the duration of each frame, from which its times follow. `frame` is the shape of all frames, by
    default that of most images; an image of another shape is shown whole within it."""

    intro: Intro = None
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
        return await image_pages.selected_page(env, "storyboard.html", artifact, projects, options, write)


generator = Storyboard()


def write(template: bytes, title: str, shown: Sequence[Shown], options: StoryboardOptions) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "frame": options.frame if options.frame != "auto" else common_frame(rows),
        "count": len(rows),
        "length": clock(len(rows) * options.seconds) if options.seconds else "",
        "sheets": list(sheets(shown, options)),
        "notes": image_pages.notes(shown, options),
        "several": len(shown) > 1,
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def common_frame(rows: Sequence[Progression]) -> str:
    """The shape among `FRAMES` that fits most images; the wider one of equals."""
    fitting = Counter(min(FRAMES, key=lambda name: abs(RATIOS[name] * row.height / row.width - 1)) for row in rows)
    return max(FRAMES, key=lambda name: fitting[name])


def sheets(shown: Sequence[Shown], options: StoryboardOptions) -> Iterator[Sheet]:
    """Six frames at a time; each project begins on a sheet of its own, frame numbers run through."""
    frames = _frames(image_pages.all_rows(shown), options)
    numbers = itertools.count(1)
    for part in shown:
        for first in range(0, len(part.rows), PER_SHEET):
            few = list(itertools.islice(frames, min(PER_SHEET, len(part.rows) - first)))
            yield Sheet(next(numbers), part.project.name, few)


def _frames(rows: Sequence[Progression], options: StoryboardOptions) -> Iterator[Frame]:
    captions, each = itertools.chain(options.captions, itertools.repeat("")), options.seconds
    for number, (row, wish) in enumerate(zip(rows, captions, strict=False), 1):
        caption, more = image_pages.cut(wish.strip() or row.prompt, CAPTION_SHOWN)
        yield Frame(
            number=number,
            picture=image_pages.picture(row),
            caption=caption,
            more=more,
            time=f"{clock((number - 1) * each)} – {clock(number * each)}" if each else "",
            slug=image_pages.credit(row, options, *([VERDICTS[row.seen]] if options.show_verdicts else [])),
        )


def clock(seconds: int) -> str:
    """`2:05`, and `1:02:05` from an hour on."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
