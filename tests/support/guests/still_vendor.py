"""A vendor for benchmarks: small pictures after STILL_SECONDS, no network."""

import asyncio
import functools
import os

from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from tests.support.internet import picture
from tools.env import Env
from tools.models.catalog import Units


@functools.cache
def painted(seed: int) -> bytes:
    return picture(seed)


class Still:
    id = "still"
    free = False
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return kind == "generate"

    def capabilities(self) -> list[Capability]:
        return [Capability(kind="generate", model="still-1", sizes=["64x64"], seed=True)]

    def adjustments(self, op: ImageOp) -> list[str]:
        return []

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return {"image": 1}, {"image": 1}

    async def prepare(self, op: ImageOp, env: Env) -> int:
        return op.seed or 0

    async def send(self, request: int, env: Env, on_progress: OnProgress) -> ProviderResult:
        await asyncio.sleep(float(os.environ.get("STILL_SECONDS", "0")))
        return ProviderResult(data=painted(request), mime="image/png")


adapter = Still()
