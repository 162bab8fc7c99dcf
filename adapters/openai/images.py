"""OpenAI's image models, by the SDK: `images.generate` and `images.edit`, streamed for their previews.

What a model can do stands in `seed/models.toml`, what becomes of an op in `request.py`, what an answer means in
`answer.py`.
"""

import asyncio
import importlib
from typing import Any, NamedTuple, cast

from adapters.image_type import mime_of
from adapters.input_images import check_images
from adapters.openai.answer import Known, read_stream, result_of, translated
from adapters.openai.request import LONGEST_SIDE, PARTIALS, Plan, meter, offered, plan, text
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from tools.env import Env
from tools.media.framing import extend, image_and_mask, shrink_if_needed
from tools.media.sandbox import run_in_child
from tools.models.catalog import Units

BASE_URL = "https://api.openai.com/v1"
MOST_BYTES = 50_000_000
CHILD_SECONDS = 60.0
SENT_FRACTION = 0.05
NOTES: dict[ImageOpKind, list[str]] = {
    "generate": ["with reference images, by the edit endpoint"],
    "inpaint": ["the mask guides the model: what lies just outside it may change too"],
    "outpaint": ["by the edit endpoint, on a larger canvas whose new part is masked"],
    "variation": ["by the edit endpoint: OpenAI no longer makes variations"],
}

File = tuple[str, bytes, str]
"""A file of a multipart body: name, bytes, type."""


class Request(NamedTuple):
    """One call: what was planned for the op, and the SDK's arguments. With `image` among them it is an edit."""

    plan: Plan
    arguments: dict[str, Any]


class OpenAI:
    id = "openai"
    free = False
    needs: tuple[str, ...] = ("OPENAI_API_KEY",)
    optional: tuple[str, ...] = ("OPENAI_BASE_URL",)

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in offered())

    def capabilities(self) -> list[Capability]:
        return [
            Capability(
                kind=kind,
                model=model.id,
                sizes=model.sizes,
                any_size=model.any_size is not None,
                qualities=model.qualities,
                max_references=model.references,
                seed=model.seed,
                negative_prompt=model.negative_prompt,
                notes=NOTES.get(kind, []),
            )
            for model in offered()
            for kind in model.kinds
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        return plan(op).adjustments

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return meter(op)

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """The SDK's arguments, with each image as the vendor takes it.

        Fails: Invalid when an image the kind works from is missing, its mask has another shape, or it cannot be read ·
        Unavailable when no image child could work on one.
        """
        planned = plan(op)
        check_images(op)
        start, mask = op.start_image, None
        images = []
        if start and op.kind == "inpaint" and op.mask:
            framed = await run_in_child(image_and_mask, start.data, op.mask.data, LONGEST_SIDE, seconds=CHILD_SECONDS)
            images, mask = [_file("start", framed.canvas)], _file("mask", framed.mask)
        elif start and planned.inner and planned.size:
            framed = await run_in_child(extend, start.data, *planned.size, planned.inner, seconds=CHILD_SECONDS)
            images, mask = [_file("start", framed.canvas)], _file("mask", framed.mask)
        elif start and op.kind != "generate":
            images = [
                _file(
                    "start",
                    await run_in_child(shrink_if_needed, start.data, LONGEST_SIDE, MOST_BYTES, seconds=CHILD_SECONDS),
                )
            ]
        for number, image in enumerate(planned.references):
            data = await run_in_child(shrink_if_needed, image.data, LONGEST_SIDE, MOST_BYTES, seconds=CHILD_SECONDS)
            images.append(_file(f"reference-{number}", data))
        # Half a second that only a process which calls OpenAI pays, off the event loop.
        await asyncio.to_thread(importlib.import_module, "openai")
        assert planned.size is not None, "only an op without its start image has no size, and that was refused above"
        arguments: dict[str, Any] = {
            "model": planned.model.id,
            "prompt": planned.prompt,
            "size": text(planned.size),
            "quality": planned.quality,
            "output_format": "png",
            "partial_images": PARTIALS,
            "stream": True,
        }
        if images:
            fidelity = planned.facts.input_fidelity
            optional = {"image": images, "mask": mask, "input_fidelity": fidelity}
            arguments |= {name: value for name, value in optional.items() if value}
        return Request(planned, arguments)

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            api_key=env.AI.keys["OPENAI_API_KEY"],
            base_url=env.AI.keys.get("OPENAI_BASE_URL", BASE_URL),
            max_retries=0,
            # Typed for httpx2 alone, but it takes a client of httpx as well.
            http_client=cast(Any, env.AI.http),
        )
        endpoint = cast(Any, client.images.edit if "image" in request.arguments else client.images.generate)
        await on_progress(SENT_FRACTION)
        known = Known()
        with translated(known):
            async with await endpoint(**request.arguments) as stream:
                picture = await read_stream(stream, known, on_progress)
        return result_of(request.plan, picture, known)


adapter = OpenAI()


def _file(name: str, data: bytes) -> File:
    """A file of the body, named and typed by what its bytes are: the image child writes nothing but images."""
    mime = str(mime_of(data))
    return f"{name}.{mime.removeprefix('image/')}", data, mime
