"""Cloudflare Workers AI over REST: `accounts/{id}/ai/run/{model}`. What it can do stands in `models.toml`."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from adapters.answer_images import read_body
from adapters.http_failures import doubting, is_trusted, lost
from adapters.input_images import check_images
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from adapters.workers.answer import VENDOR, Answer, image_of, request_id
from adapters.workers.body import paint_over, shrink_all
from adapters.workers.request import Plan, least_and_most, models, plan, shrunk, units
from tools.env import Env
from tools.errors import VendorError
from tools.media.sandbox import run_in_child
from tools.models.catalog import Units

BASE_URL = "https://api.cloudflare.com/client/v4"
DOMAIN = "api.cloudflare.com"
NOTES: dict[ImageOpKind, str] = {
    "edit": "the start image is sent as a small reference (below 512 pixels a side), and the whole picture is new",
    "variation": "the start image is sent as a small reference (below 512 pixels a side)",
    "inpaint": "the mask is sent in black and white: what is transparent or white is painted",
    "outpaint": "done by inpainting around the start image",
}


class Request(NamedTuple):
    """One call: what was planned for the op, and the body as httpx takes it."""

    plan: Plan
    body: dict[str, Any]


class Workers:
    id = "workers"
    free = False
    needs: tuple[str, ...] = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
    optional: tuple[str, ...] = ("CLOUDFLARE_BASE_URL",)

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in models())

    def capabilities(self) -> list[Capability]:
        return [
            Capability(
                kind=kind,
                model=model.id,
                sizes=model.sizes,
                any_size=model.any_size is not None,
                max_references=model.references,
                seed=model.seed,
                negative_prompt=model.negative_prompt,
                notes=[NOTES[kind]] if kind in NOTES and (model.references or kind in ("inpaint", "outpaint")) else [],
            )
            for model in models()
            for kind in model.kinds
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        return plan(op).notes

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return least_and_most(op, plan(op))

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """The body, a form or JSON, with its pictures as small as the model takes them.

        Fails: Invalid for a prompt that is too long, and for images that are missing, do not fit or cannot be read ·
        Unavailable when no image child could work on them.
        """
        planned = plan(op)
        check_images(op)
        pictures = [image.data for image in planned.images]
        if planned.facts.request == "multipart":
            small = await run_in_child(shrink_all, pictures, planned.facts.longest) if pictures else []
            texts = [(name, (None, str(value))) for name, value in planned.fields.items()]
            files = [(f"input_image_{number}", (f"{number}.png", data)) for number, data in enumerate(small)]
            return Request(planned, {"files": [*texts, *files]})
        if not pictures:
            return Request(planned, {"json": planned.fields})
        mask = planned.mask.data if planned.mask else None
        content = await run_in_child(paint_over, planned.fields, pictures[0], mask, planned.size, planned.inner)
        return Request(planned, {"content": content, "headers": {"content-type": "application/json"}})

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        planned, keys = request.plan, env.AI.keys
        account = quote(keys["CLOUDFLARE_ACCOUNT_ID"], safe="")
        base = keys.get("CLOUDFLARE_BASE_URL", BASE_URL).rstrip("/")
        url = f"{base}/accounts/{account}/ai/run/{planned.model.id}"
        headers = {"authorization": f"Bearer {keys['CLOUDFLARE_API_TOKEN']}", **request.body.get("headers", {})}
        await on_progress(0.1)
        known: str | None = None
        try:
            async with env.AI.http.stream("POST", url, **{**request.body, "headers": headers}) as response:
                known = request_id(response.headers)
                body = await read_body(response)
                answer = Answer(response.status_code, response.headers, body.data, body.error)
        except httpx.HTTPError as error:
            raise lost(error, VENDOR, known) from error
        try:
            with doubting(is_trusted(base, DOMAIN, env.settings)):
                image = await asyncio.to_thread(image_of, answer, base)
        except VendorError as error:
            if response.is_success:
                error.body = answer.body
            raise
        await on_progress(0.95)
        longest, neurons = planned.facts.longest, _neurons(answer.headers)
        counted = units(planned, [shrunk(image, longest) for image in planned.images] if longest else [])
        return ProviderResult(
            data=image.data,
            mime=image.mime,
            addresses=image.addresses,
            provider_meta={"model": planned.model.id, "width": planned.size[0], "height": planned.size[1]},
            usage={} if neurons is None else {"neurons": neurons},
            units=counted if neurons is None else {"neuron": neurons},
            adjustments=planned.notes,
            request_id=known,
        )


adapter = Workers()


def _neurons(headers: Mapping[str, str]) -> float | None:
    """What the answer says it is billed for, the pictures that were sent among it; some models say nothing."""
    try:
        neurons = float(headers["cf-ai-neurons"])
    except (KeyError, ValueError):
        return None
    return neurons if 0 <= neurons < math.inf else None
