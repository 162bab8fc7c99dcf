"""A walkthrough reel: the images as a short film with a moving camera, cross-fades and captions, and its poster."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.media import film, typesetting
from generators.media.film import FADE, RATE, Shot
from generators.shared import image_pages
from generators.shared.image_pages import ClientSelection, Intro, Shown
from tools.env import Env
from tools.publishing import renders
from tools.rows import ArtifactRow, Progression, Project

MOST_IMAGES = 40
MOST_SECONDS = 120.0
CARD_SECONDS = 2.6
SIDE = 1600
"""The longer side of an image in the film, in pixels."""
PROMPT_SHOWN = 150


class ReelOptions(ClientSelection, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`intro` stands on the opening card. Of more than 40 images the newest are shown. `seconds` is the time of each
    image; it is shortened where the film would be longer than two minutes."""

    intro: Intro = None
    seconds: Annotated[float, Meta(ge=0.6, le=8)] = 3.0
    captions: bool = True


class Card(msgspec.Struct, frozen=True, tag_field="kind", tag="card"):
    eyebrow: str
    title: str
    lines: list[str]


class Caption(msgspec.Struct, frozen=True, tag_field="kind", tag="caption"):
    prompt: str
    verdict: Literal["pass", "measured", "fail", "none", ""]
    words: str
    maker: str
    place: str


class Script(msgspec.Struct, frozen=True):
    """The content of the film: the images in order, and a text page for the title, each image and the end."""

    rows: list[Progression]
    pages: list[Card | Caption]
    frames: int
    cover: Progression | None


class WalkthroughReel:
    id = "walkthrough-reel"
    name = "Walkthrough reel"
    output: Literal["video"] = "video"
    options = ReelOptions
    modules = ("av", "typst")

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: ReelOptions
    ) -> Output:
        """The film of the projects' images and its poster.

        Fails: Invalid (`not_installed`, `render_too_large`) · NotFound · Unavailable.
        """
        typesetting.check_installed(self.modules)
        script = write(artifact.title, await image_pages.collect(env, projects, options), options)
        shots = await _shots(env, script, options)
        streams = []
        for number, shot in enumerate(shots):
            before = shots[number - 1] if number else None
            streams.append(await typesetting.in_press(film.encode, before, shot, number == len(shots) - 1))
            await renders.report_progress("render", (number + 1) / (len(shots) + 1))
        whole = await typesetting.in_press(film.join, streams, artifact.title)
        return Output(
            index=File("index.mp4", whole, "video/mp4"),
            beside=(File("poster.jpg", await typesetting.in_press(film.poster, shots[0]), "image/jpeg"),),
            progression_ids=tuple(row.id for row in script.rows),
        )


generator = WalkthroughReel()


def write(title: str, shown: Sequence[Shown], options: ReelOptions) -> Script:
    """The film's texts and times."""
    every = image_pages.all_rows(shown)
    rows = image_pages.newest(every, MOST_IMAGES)
    kept = {row.id for row in rows}
    shown = [msgspec.structs.replace(part, rows=[row for row in part.rows if row.id in kept]) for part in shown]
    seconds = min(options.seconds, (MOST_SECONDS - 2 * CARD_SECONDS) / max(1, len(rows)))
    captions = [_caption(row, number, len(rows), options) for number, row in enumerate(rows, 1)]
    pages: list[Card | Caption] = [_opening(title, shown, every, options), *captions, _closing(every, rows, options)]
    return Script(rows, pages, int(seconds * RATE), image_pages.cover(shown, options))


def _opening(title: str, shown: Sequence[Shown], rows: Sequence[Progression], options: ReelOptions) -> Card:
    names = image_pages.line(options.intro or ", ".join(part.project.name for part in shown), 120)
    return Card(
        "Walkthrough", typesetting.breakable(title), [words for words in (names, image_pages.period(rows)) if words]
    )


def _caption(row: Progression, number: int, of: int, options: ReelOptions) -> Caption:
    return Caption(
        prompt=typesetting.breakable(image_pages.line(row.prompt, PROMPT_SHOWN)),
        verdict=(row.seen or "none") if options.show_verdicts else "",
        words=image_pages.VERDICTS[row.seen],
        maker=typesetting.breakable(image_pages.credit(row, options)),
        place=f"{number} / {of}",
    )


def _closing(every: Sequence[Progression], rows: Sequence[Progression], options: ReelOptions) -> Card:
    if not every:
        return Card("Walkthrough", "There are no images yet.", [])
    facts = image_pages.facts(every, verdicts=options.show_verdicts)
    counts = " · ".join(f"{fact.count} {fact.word.lower()}" for fact in facts)
    left_out = f"The newest {len(rows)} of {len(every)} images were shown." if len(rows) < len(every) else ""
    makers = image_pages.line(image_pages.colophon(rows), 160)
    return Card("The end", "Thank you for watching.", [words for words in (counts, left_out, makers) if words])


async def _shots(env: Env, script: Script, options: ReelOptions) -> list[Shot]:
    template = env.ASSETS.read("walkthrough-reel.typ")
    opening, *captions, closing = await typesetting.in_press(typesetting.labels, template, script.pages)
    derived = await image_pages.pictures(env, script.rows, SIDE)
    shown = [
        Shot(image, caption if options.captions else None, max(FADE, script.frames), move)
        for move, (image, caption) in enumerate(zip(derived, captions, strict=True))
    ]
    ground = derived[script.rows.index(script.cover)] if script.cover else None
    still = round(CARD_SECONDS * RATE)
    return [Shot(ground, opening, still, dim=True), *shown, Shot(ground, closing, still, dim=True)]
