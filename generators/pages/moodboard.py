"""A moodboard: images close together, the palette measured in their pixels, and the words that come up most."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import ClientPage, Shown
from generators.shared.tags import tag_of
from tools.env import Env
from tools.errors import Invalid, NotFound
from tools.format import dollars
from tools.media import swatches
from tools.media.swatches import Swatch
from tools.rows import ArtifactRow, Progression, Project

COLOURS_SHOWN = 8
WORDS_SHOWN = 6
SHAPES = ("landscape", "portrait", "square")
WORD_EVERY = 5
"""After so many images stands a word."""

Measured = Mapping[str, list[Swatch]]


class MoodboardOptions(ClientPage, frozen=True, kw_only=True):
    """Of the selected images the newest `most` are on the board; `captions` puts the prompts under them."""

    intro: Annotated[str, Meta(max_length=600)] | None = None
    most: Annotated[int, Meta(ge=1, le=120)] = 48
    captions: bool = False


class Band(msgspec.Struct, frozen=True):
    """A stripe of colour: where it begins and how wide it is, of 100."""

    hex: str
    at: float
    width: float


class Chip(msgspec.Struct, frozen=True):
    hex: str
    name: str
    percent: int


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """An image with its own colours; `word` stands after it."""

    number: int
    picture: page.Picture
    ratio: str
    bands: list[Band]
    colours: str
    caption: str
    word: str


class Moodboard:
    """Without images: a page that says so. An image whose original is gone or spoilt keeps its place, colourless."""

    id = "moodboard"
    name = "Moodboard"
    output: Literal["html"] = "html"
    options = MoodboardOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: MoodboardOptions
    ) -> Output:
        shown = await image_pages.collect(env, projects, options)
        rows = image_pages.newest(image_pages.all_rows(shown), options.most)
        measured = await measure_all(env, rows)

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, shown, measured, options)

        return await image_pages.web_page(
            env, "moodboard.html", rows, written, image_pages.about(artifact.title, shown, options)
        )


generator = Moodboard()


async def measure_all(env: Env, rows: Sequence[Progression]) -> dict[str, list[Swatch]]:
    """The dominant colours of each image, by its id."""

    async def measure(row: Progression) -> list[Swatch]:
        try:
            return await swatches.measure(env, row.original_image_r2_key)
        except (NotFound, Invalid):
            # A board with one palette less is still a board; the image itself is delivered from elsewhere.
            return []

    measured = await image_pages.a_few_at_once(measure, rows)
    return {row.id: found for row, found in zip(rows, measured, strict=True)}


def write(
    template: bytes,
    title: str,
    shown: Sequence[Shown],
    measured: Measured,
    options: MoodboardOptions,
) -> bytes:
    """The page of the images that were measured. It depends on nothing but its arguments."""
    everything = image_pages.all_rows(shown)
    rows = [row for row in everything if row.id in measured]
    chips = palette(rows, measured)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "chips": chips,
        "tiles": list(tiles(rows, measured, options)),
        "empty": None if rows else image_pages.EMPTY[options.only],
        "held_back": f"{len(rows)} of {len(everything)} images, the newest." if len(rows) < len(everything) else "",
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def palette(rows: Sequence[Progression], measured: Measured) -> list[Chip]:
    """The colours of the whole board; every image counts alike, whatever its size."""
    all_of_them = [Swatch(swatch.rgb, swatch.share / len(rows)) for row in rows for swatch in measured[row.id]]
    found = swatches.merged(all_of_them, COLOURS_SHOWN)
    return [Chip(swatch.hex, swatches.word_for(swatch.rgb), round(100 * swatch.share)) for swatch in found]


def tiles(rows: Sequence[Progression], measured: Measured, options: MoodboardOptions) -> Iterator[Tile]:
    words = iter(common_words(rows))
    for number, row in enumerate(rows, 1):
        found = measured[row.id]
        yield Tile(
            number=number,
            picture=image_pages.picture(row),
            ratio=image_pages.ratio(row),
            bands=bands(found),
            colours=", ".join(swatches.word_for(swatch.rgb) for swatch in found),
            caption=_caption(row, options),
            word=next(words, "") if number % WORD_EVERY == 2 else "",
        )


def _caption(row: Progression, options: MoodboardOptions) -> str:
    told = [image_pages.line(row.prompt, image_pages.ALT_SHOWN)] if options.captions else []
    told += [image_pages.VERDICTS[row.seen]] if options.show_verdicts else []
    told += [dollars(row.cost_usd)] if options.show_costs and row.cost_usd else []
    return " · ".join(told)


def common_words(rows: Sequence[Progression]) -> list[str]:
    """The tags that most images bear and that name neither a colour nor a shape: those are there to be seen."""
    counted = Counter(tag for row in rows for tag in row.ai_tags if tag not in SHAPES and tag_of(tag).hex is None)
    return [tag for tag, _ in counted.most_common(WORDS_SHOWN)]


def bands(found: Sequence[Swatch]) -> list[Band]:
    """The colours of one image beside each other, as wide as their shares."""
    whole = sum(swatch.share for swatch in found)
    widths = [100 * swatch.share / whole for swatch in found]
    starts = [0.0, *accumulate(widths)]
    return [
        Band(swatch.hex, round(start, 2), round(width, 2))
        for swatch, start, width in zip(found, starts, widths, strict=False)
    ]
