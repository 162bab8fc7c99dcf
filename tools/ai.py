"""The doors to models. In this build the only eyes are the built-in measures."""

from tools.child import in_child
from tools.env import Env
from tools.errors import Invalid
from tools.measure import Verdict, judge_image
from tools.rows import Item, Job, Progression
from tools.step import step


@step("ai.see")
async def see(env: Env, job: Job, item: Item, progression: Progression) -> Verdict:
    """Look at an image beside the prompt it was made from; bytes come from BUCKET.

    Fails: Invalid (`model_not_available`) for another vision model than `builtin`; Unavailable (`image_child`).
    """
    if env.DEFAULT_MODEL_VISION != "builtin":
        raise Invalid("this build has the built-in judge only", code="model_not_available")
    inputs = job.inputs
    start = await env.BUCKET.get(inputs.start.r2_key) if inputs and inputs.start else None
    mask = await env.BUCKET.get(inputs.mask.r2_key) if inputs and inputs.mask else None
    image = await env.BUCKET.get(progression.original_image_r2_key)
    return await in_child(judge_image, job.prompt, job.kind, job.request.size, image, start, mask)
