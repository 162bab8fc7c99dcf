"""Prompts by rule: what is added to a person's own words, never what is taken from them."""

from collections.abc import Sequence

from tools import db
from tools.env import Env
from tools.rows import Job, JobMetadata, Kind, Tip

_KIND_RULES: dict[Kind, str] = {
    "generate": "",
    "edit": "Work from the supplied image.",
    "inpaint": "Paint only the masked area of the supplied image.",
    "outpaint": "Continue the supplied image beyond its edges.",
    "variation": "Make another version of the supplied image.",
    "upscale": "Enlarge the supplied image and add nothing.",
}


async def guide(env: Env, job: Job, providers: Sequence[str]) -> JobMetadata:
    """The tips and the refined prompt of each provider that may paint for the job."""
    tips = {provider: await db.get_tips(env, provider, job.kind) for provider in providers}
    refined = {
        provider: refine(job.prompt, known, job.kind, job.request.negative_prompt) for provider, known in tips.items()
    }
    return JobMetadata(applied_tips=tips, refined_prompt=refined)


def refine(prompt: str, tips: Sequence[Tip], kind: Kind, negative: str | None) -> str:
    """The prompt for a provider: the user's words verbatim, then guidance, then what to avoid."""
    guidance = " ".join(filter(None, (_KIND_RULES[kind], *(tip.tip for tip in tips))))
    parts = [prompt, f"Guidance: {guidance}" if guidance else "", f"Avoid: {negative}" if negative else ""]
    return "\n\n".join(filter(None, parts))


def merge_suggestion(prompt: str, suggestion: str) -> str:
    """The prompt of a guided retry; merging the same suggestion again changes nothing."""
    return prompt if not suggestion or suggestion in prompt else f"{prompt}\n\n{suggestion}"
