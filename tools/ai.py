"""The door to models that look: what a judge says of an image."""

import msgspec

from tools.child import in_child
from tools.env import Env
from tools.errors import Invalid
from tools.measure import Question, judge
from tools.rows import Kind, Verdict
from tools.step import step

BUILTIN = "builtin"


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be looked at: keys in BUCKET, and what was asked for."""

    prompt: str
    kind: Kind
    image_key: str
    negative: str | None = None
    size: str | None = None
    start_key: str | None = None
    mask_key: str | None = None


@step("ai.see")
async def see(env: Env, model: str, sight: Sight) -> Verdict:
    """The verdict of a vision model on a stored image.

    Fails: Invalid when this build has no such model · NotFound when BUCKET has no such image · Unavailable.
    """
    if model != BUILTIN:
        raise Invalid(f"there is no vision model {model!r}; there is: {BUILTIN}", code="unknown_model")
    question = Question(
        prompt=sight.prompt,
        kind=sight.kind,
        image=await env.BUCKET.get(sight.image_key),
        negative=sight.negative,
        size=sight.size,
        start=await env.BUCKET.get(sight.start_key) if sight.start_key else None,
        mask=await env.BUCKET.get(sight.mask_key) if sight.mask_key else None,
    )
    return await in_child(judge, question)
