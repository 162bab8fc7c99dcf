"""Cloudflare Workers AI over REST: `accounts/{id}/ai/run/{model}`. What it can do stands in `models.toml`."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from adapters.http_failures import lost
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from adapters.workers.answer import Answer, image_of, request_id
from adapters.workers.body import paint_over, shrink_all
from adapters.workers.request import Plan, check_images, least_and_most, models, plan, shrunk, units
from tools.env import Env
from tools.media.sandbox import in_child
from tools.models.catalog import ImageModel, Units

VENDOR = "Workers AI"
BASE_URL = "https://api.cloudflare.com/client/v4"
NOTES: dict[ImageOpKind, str] = {
    "edit": "the start image is sent as a small reference (below 512 pixels a side), and the whole picture is new",
    "variation": "the start image is sent as a small reference (below 512 pixels a side)",
    "inpaint": "the mask is sent in black and white: what is transparent or white is painted",
    "outpaint": "done by inpainting around the start image",
}


class Workers:
    id = "workers"
    free = False
    needs: tuple[str, ...] = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in models())

    def capabilities(self) -> list[Capability]:
        return [_capability(model, kind) for model in models() for kind in model.kinds]

    def adjustments(self, op: ImageOp) -> list[str]:
        return plan(op).notes

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return least_and_most(op, plan(op))

    async def run(self, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Fails: also Invalid, before anything is sent, for a prompt that is too long or images that do not fit."""
        drawn = plan(op)
        check_images(op)
        body = await _body(drawn)
        await on_progress(0.1)
        answer = await _ask(env, drawn.model.id, body)
        data, mime = image_of(answer)
        await on_progress(0.95)
        longest, neurons = drawn.facts.longest, _neurons(answer.headers)
        counted = units(drawn, [shrunk(image, longest) for image in drawn.images] if longest else [])
        return ProviderResult(
            data=data,
            mime=mime,
            provider_meta={"model": drawn.model.id, "width": drawn.size[0], "height": drawn.size[1]},
            usage={} if neurons is None else {"neurons": neurons},
            units=counted if neurons is None else {"neuron": neurons},
            adjustments=drawn.notes,
            request_id=request_id(answer.headers),
        )


adapter = Workers()


def _capability(model: ImageModel, kind: ImageOpKind) -> Capability:
    return Capability(
        kind=kind,
        model=model.id,
        sizes=model.sizes,
        any_size=model.any_size is not None,
        max_references=model.references,
        seed=model.seed,
        negative_prompt=model.negative_prompt,
        notes=[NOTES[kind]] if kind in NOTES and (model.references or kind in ("inpaint", "outpaint")) else [],
    )


def _neurons(headers: Mapping[str, str]) -> float | None:
    """What the answer says it is billed for, the pictures that were sent among it; some models say nothing."""
    try:
        neurons = float(headers["cf-ai-neurons"])
    except (KeyError, ValueError):
        return None
    return neurons if 0 <= neurons < math.inf else None


async def _body(drawn: Plan) -> dict[str, Any]:
    """The body, as httpx takes it."""
    pictures = [image.data for image in drawn.images]
    if drawn.facts.request == "multipart":
        small = await in_child(shrink_all, pictures, drawn.facts.longest) if pictures else []
        texts = [(name, (None, str(value))) for name, value in drawn.fields.items()]
        return {"files": [*texts, *((f"input_image_{n}", (f"{n}.png", data)) for n, data in enumerate(small))]}
    if not pictures:
        return {"json": drawn.fields}
    mask = drawn.mask.data if drawn.mask else None
    content = await in_child(paint_over, drawn.fields, pictures[0], mask, drawn.size, drawn.inner)
    return {"content": content}


async def _ask(env: Env, model: str, body: dict[str, Any]) -> Answer:
    """The one call.

    Fails: what `lost` says.
    """
    keys = env.AI.keys
    account = quote(keys["CLOUDFLARE_ACCOUNT_ID"], safe="")
    url = f"{keys.get('CLOUDFLARE_BASE_URL', BASE_URL).rstrip('/')}/accounts/{account}/ai/run/{model}"
    headers = {"authorization": f"Bearer {keys['CLOUDFLARE_API_TOKEN']}"}
    if "content" in body:
        headers["content-type"] = "application/json"
    known: str | None = None
    try:
        async with env.AI.http.stream("POST", url, headers=headers, **body) as response:
            known = request_id(response.headers)
            return Answer(response.status_code, response.headers, await response.aread())
    except httpx.HTTPError as error:
        cause = lost(error, VENDOR)
        cause.request_id = known
        raise cause from error
