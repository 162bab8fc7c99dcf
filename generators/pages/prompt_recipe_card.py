"""Prompt recipe cards: for each image a page with all that is needed to make it again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import VERDICTS, Intro, PageSelection, Shown
from tools.env import Env
from tools.format import dollars
from tools.reports import project_rows
from tools.rows import ArtifactRow, Job, JobRequest, Progression, Project

PROMPT_SHOWN = 1400
"""Characters that fit on a printed card; the rest is folded."""
KINDS = {
    "generate": "Generated from text",
    "edit": "Edit of an image",
    "inpaint": "Inpainting of an image",
    "outpaint": "Outpainting of an image",
    "variation": "Variation of an image",
    "upscale": "Upscale of an image",
}


class PromptRecipeCardOptions(PageSelection, frozen=True, kw_only=True):
    """`costs: false` leaves out what the images cost."""

    intro: Intro = None
    costs: bool = True


class Parameter(msgspec.Struct, frozen=True):
    word: str
    value: str


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """`refined` is what the vendor was sent, where that is not the prompt; `avoid` the negative prompt."""

    number: int
    picture: page.Picture
    tall: bool
    project: str
    prompt: str
    more: str
    refined: str
    refined_more: str
    avoid: str
    tips: list[str]
    parameters: list[Parameter]
    adjustments: list[str]
    step: str
    origin: int | None
    verdict: str
    verdict_words: str


class PromptRecipeCard:
    """Without images: a page that says so."""

    id = "prompt-recipe-card"
    name = "Prompt recipe card"
    output: Literal["html"] = "html"
    options = PromptRecipeCardOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: PromptRecipeCardOptions
    ) -> Output:
        shown = await image_pages.collect(env, projects, options)
        rows = image_pages.all_rows(shown)
        orders = await project_rows.named_jobs(env, {row.job_id for row in rows if row.job_id is not None})

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, shown, orders, options)

        return await image_pages.web_page(
            env, "prompt-recipe-card.html", rows, written, image_pages.about(artifact.title, shown, options)
        )


generator = PromptRecipeCard()


def write(
    template: bytes,
    title: str,
    shown: Sequence[Shown],
    orders: Mapping[str, Job],
    options: PromptRecipeCardOptions,
) -> bytes:
    """The page; `orders` are the jobs of its images by id. It depends on nothing but its arguments."""
    rows = image_pages.all_rows(shown)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "cards": list(cards(shown, orders, options)),
        "several": len(shown) > 1,
        "notes": image_pages.notes(shown, options),
        "when": image_pages.period(rows),
    }
    return page.render(template, context)


def cards(shown: Sequence[Shown], orders: Mapping[str, Job], options: PromptRecipeCardOptions) -> Iterator[Card]:
    """The cards; numbers run through all projects."""
    numbers = image_pages.numbers(image_pages.all_rows(shown))
    for part in shown:
        for row in part.rows:
            job = orders[row.job_id] if row.job_id else None
            yield _card(row, job, part.project, numbers, options)


def _card(
    row: Progression,
    job: Job | None,
    project: Project,
    numbers: Mapping[str, int],
    options: PromptRecipeCardOptions,
) -> Card:
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    is_refined = row.refined_prompt and row.refined_prompt.strip() != row.prompt.strip()
    refined, refined_more = image_pages.cut(row.refined_prompt or "" if is_refined else "", PROMPT_SHOWN)
    step, origin = image_pages.step(row, numbers)
    return Card(
        number=numbers[row.id],
        picture=image_pages.picture(row),
        tall=row.height > row.width,
        project=project.name,
        prompt=prompt,
        more=more,
        refined=refined,
        refined_more=refined_more,
        avoid=(job.request.negative_prompt or "") if job else "",
        tips=[tip.tip for tip in job.metadata.applied_tips.get(row.ai_provider, [])] if job else [],
        parameters=[parameter for parameter in parameters(row, job, options) if parameter.value],
        adjustments=row.adjustments,
        step=step,
        origin=origin,
        verdict=row.seen or "none",
        verdict_words=VERDICTS[row.seen],
    )


def parameters(row: Progression, job: Job | None, options: PromptRecipeCardOptions) -> list[Parameter]:
    """What was set, in the order of the card; what is not known has no value."""
    request = job.request if job else None
    asked = f" (asked: {request.size})" if request and request.size and request.size != _size(row) else ""
    return [
        Parameter("Provider", row.ai_provider),
        Parameter("Model", row.ai_model or ""),
        Parameter("Seed", str(row.seed) if row.seed is not None else "none"),
        Parameter("Size", f"{_size(row).replace('x', ' × ')}{asked}"),
        Parameter("Quality", (request.quality or "") if request else ""),
        Parameter("Kind", KINDS[job.kind] if job else ""),
        Parameter("Variant", variant(row, request) if request else ""),
        Parameter("References", str(len(request.reference_image_urls) or "") if request else ""),
        Parameter("Made on", image_pages.day(row.created_at)),
        Parameter("Cost", dollars(row.cost_usd) if options.costs else ""),
    ]


def variant(row: Progression, request: JobRequest) -> str:
    """Which of the variants it is, counted over all models of the provider; the total is unknown for a fallback."""
    all_of_them = request.variants * sum(asked["provider"] == row.ai_provider for asked in request.providers)
    return (
        f"{row.variant_index + 1} of {all_of_them}" if row.variant_index < all_of_them else f"{row.variant_index + 1}"
    )


def _size(row: Progression) -> str:
    return f"{row.width}x{row.height}"
