"""OpenAI's image models, and those of every server that speaks its API, by the SDK: `images.generate`, `images.edit`.

What a model can do stands in `seed/models.toml`, which servers there are in `servers.py`, what becomes of an op in
`request.py`, what an answer means in `answer.py`. OpenAI's answers are streamed for their previews; those of other
servers only where OPENAI_STREAM says so, for a gateway that cannot stream buys nevertheless.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, cast

import httpx

from adapters.http_failures import doubting, is_trusted
from adapters.input_images import check_images
from adapters.openai.answer import Known, read_answer, result_of, translated
from adapters.openai.request import LONGEST_SIDE, PARTIALS, Plan, meter, plan, text
from adapters.openai.servers import DOMAIN, PROVIDER, UNNAMED, Server, models_of, server_of
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from tools.env import Env
from tools.media.framing import extend, image_and_mask, shrink_if_needed
from tools.media.sandbox import run_in_child
from tools.media.signatures import mime_of
from tools.models.catalog import ImageModel, Units, offered

MOST_BYTES = 50_000_000
CHILD_SECONDS = 60.0
SENT_FRACTION = 0.05
NOTES: dict[ImageOpKind, list[str]] = {
    "generate": ["with reference images, by the edit endpoint"],
    "inpaint": ["the mask guides the model: what lies just outside it may change too"],
    "outpaint": ["by the edit endpoint, on a larger canvas whose new part is masked"],
    "variation": ["by the edit endpoint: the API no longer makes variations"],
}

File = tuple[str, bytes, str]
"""A file of a multipart body: name, bytes, type."""


class Request(NamedTuple):
    """One call: what was planned for the op, and the SDK's arguments. With `image` among them it is an edit."""

    plan: Plan
    arguments: dict[str, Any]


class OpenAI:
    """OpenAI, or another server of its API under another name; `models` are those of OpenAI's catalogue by default."""

    free = False

    def __init__(
        self,
        id: str = PROVIDER,
        models: Sequence[ImageModel] | None = None,
        needs: tuple[str, ...] = ("OPENAI_API_KEY",),
        optional: tuple[str, ...] = ("OPENAI_BASE_URL",),
    ) -> None:
        self.id, self.needs, self.optional = id, needs, optional
        self._models = models

    @property
    def models(self) -> Sequence[ImageModel]:
        """The models that can be asked for, the default one first."""
        return offered(PROVIDER) if self._models is None else self._models

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in self.models)

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
            for model in self.models
            for kind in model.kinds
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        return self._plan(op).adjustments

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return meter(op, self._plan(op))

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """The SDK's arguments, with each image as the vendor takes it.

        Fails: Invalid when an image the kind works from is missing, its mask has another shape, or it cannot be read ·
        Unavailable when no image child could work on one.
        """
        planned, server = self._plan(op), server_of(self.id, env)
        check_images(op)
        start, mask = op.start_image, None
        images = []
        if start and op.kind == "inpaint" and op.mask:
            framed = await run_in_child(image_and_mask, start.data, op.mask.data, LONGEST_SIDE, seconds=CHILD_SECONDS)
            images, mask = [_file("start", framed.canvas)], _file("mask", framed.mask)
        elif start and planned.inner and planned.canvas:
            framed = await run_in_child(extend, start.data, *planned.canvas, planned.inner, seconds=CHILD_SECONDS)
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
        known = not planned.facts.plain
        arguments: dict[str, Any] = {
            "model": None if planned.model.id == UNNAMED else planned.model.id,
            "prompt": planned.prompt,
            "size": text(planned.size) if planned.size else None,
            "quality": planned.quality,
            "output_format": "png" if known else None,
            "partial_images": PARTIALS if server.streams else None,
            "stream": True if server.streams else None,
            "image": images or None,
            "mask": mask,
            "input_fidelity": planned.facts.input_fidelity if images else None,
        }
        return Request(planned, {name: value for name, value in arguments.items() if value is not None})

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        server, known = server_of(self.id, env), Known()
        await on_progress(SENT_FRACTION)
        with doubting(is_trusted(server.url, DOMAIN, env.settings)), translated(known):
            async with _answer(server, request.arguments, env) as answer:
                picture = await read_answer(answer, server.url, known, on_progress)
            return result_of(request.plan, picture, known)

    def _plan(self, op: ImageOp) -> Plan:
        return plan(op, self.id, self.models)


adapter = OpenAI()


def image_servers(env: Env) -> list[OpenAI]:
    """OpenAI with the models that this installation can ask for, and each server of IMAGE_SERVERS."""
    named = [OpenAI(name, models_of(name, env), needs=(), optional=()) for name in env.settings.image_servers]
    return [OpenAI(models=models_of(PROVIDER, env)), *named]


@contextlib.asynccontextmanager
async def _answer(server: Server, arguments: dict[str, Any], env: Env) -> AsyncIterator[httpx.Response]:
    """The one call, and its answer as it comes: the SDK's own reading lets go of pictures over their form."""
    from openai import AsyncOpenAI, Omit

    # As headers of the call: of a client without a key the SDK makes no request.
    bearer = server.key and not server.headers
    arguments = {**arguments, "extra_headers": {} if bearer else {**server.headers, "Authorization": Omit()}}
    client = AsyncOpenAI(
        # The SDK wants one; it is not sent to a server without a key.
        api_key=server.key or "none",
        base_url=server.url,
        max_retries=0,
        default_query=server.query,
        # Typed for httpx2 alone, but it takes a client of httpx as well.
        http_client=cast(Any, env.AI.http),
    )
    images = client.images.with_streaming_response
    endpoint = cast(Any, images.edit if "image" in arguments else images.generate)
    async with endpoint(**arguments) as answer:
        yield answer.http_response


def _file(name: str, data: bytes) -> File:
    """A file of the body, named and typed by what its bytes are: the image child writes nothing but images."""
    mime = str(mime_of(data))
    return f"{name}.{mime.removeprefix('image/')}", data, mime
