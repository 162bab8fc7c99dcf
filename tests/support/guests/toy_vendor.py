"""A paid vendor for tests, installed as a plugin package: it calls the server of `tests/support/internet.py`."""

import asyncio
import signal
from typing import Any

import httpx

from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from tools.env import Env
from tools.errors import Invalid, Refused, Unavailable, Uncertain, VendorFailed
from tools.media.sandbox import run_in_child
from tools.models.catalog import Units

KINDS: tuple[ImageOpKind, ...] = ("generate", "edit", "variation")


class Toy:
    id = "toy"
    free = False
    needs: tuple[str, ...] = ("TOY_KEY", "TOY_URL")
    optional: tuple[str, ...] = ()

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return kind in KINDS and model in (None, "toy-1")

    def capabilities(self) -> list[Capability]:
        return [Capability(kind=kind, model="toy-1", sizes=["64x64"], seed=True) for kind in KINDS]

    def adjustments(self, op: ImageOp) -> list[str]:
        return [] if op.quality is None else ["quality is dropped: toy-1 has none"]

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return {"image": 1}, {"image": 1}

    async def prepare(self, op: ImageOp, env: Env) -> dict[str, Any]:
        """The request's body; some prompts make its preparation fail."""
        match op.prompt:
            case "kill the image child":
                await run_in_child(signal.raise_signal, signal.SIGKILL)
            case "kill the worker" if op.seed == 1:
                signal.raise_signal(signal.SIGKILL)
            case "be late":
                raise TimeoutError
            case "break":
                raise ZeroDivisionError(f"a fault of the adapter, which tells its key {env.AI.keys['TOY_KEY']}")
            case "let the second end its worker" if op.seed == 1:
                # Not really: a test that waits for this plays the end.
                await asyncio.Event().wait()
            case "be unfit":
                raise Invalid("toy-1 cannot paint this", code="unfit")
        return {"prompt": op.prompt, "seed": op.seed}

    async def send(self, request: dict[str, Any], env: Env, on_progress: OnProgress) -> ProviderResult:
        url, headers = env.AI.keys["TOY_URL"], {"authorization": f"Bearer {env.AI.keys['TOY_KEY']}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
            await on_progress(0.3)
            try:
                answer = await client.post("/images", json=request)
            except httpx.ConnectError as error:
                raise Unavailable("the toy vendor could not be reached") from error
            except httpx.HTTPError as error:
                raise Uncertain("the toy vendor did not answer") from error
        return _result(answer)


def _result(answer: httpx.Response) -> ProviderResult:
    wait = answer.headers.get("retry-after")
    match answer.status_code:
        case 200 if answer.content != b"{}":
            return ProviderResult(
                data=answer.content, mime="image/png", request_id=answer.headers["x-request-id"], units={"image": 1}
            )
        case 200:
            error = VendorFailed("no image came", failure="empty", provider_status=200)
            error.body = answer.content
            raise error
        case 429:
            raise Unavailable(
                "too many calls", failure="rate", provider_status=429, retry_after=float(wait) if wait else None
            )
        case 402:
            raise VendorFailed("the quota is spent", failure="quota", provider_status=402)
        case 400:
            raise Refused("the toy vendor said no", provider_status=400, provider_code="moderation_blocked")
        case status:
            raise Unavailable("the toy vendor failed", provider_status=status)


adapter = Toy()
