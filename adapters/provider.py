"""The contract between the house and a vendor of images, on one page.

A provider is a module in this folder (or one named by the entry-point group `picasso.adapters`) with one
object `adapter` that is a `ProviderAdapter`. It turns an `ImageOp` into bytes with exactly one call to its
vendor and no retries of its own: only the ledger may decide to call again.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from tools.env import Env
from tools.models.catalog import Units
from tools.rows import Kind

ImageOpKind = Kind


class InputImage(msgspec.Struct, frozen=True):
    """Vetted image bytes. `width` and `height` in pixels, after orientation."""

    data: bytes
    mime: str
    width: int
    height: int


class ImageOp(msgspec.Struct, frozen=True, kw_only=True):
    """One image to be made. `size` is "WIDTHxHEIGHT" in pixels; in a mask, transparent or white means "change here"."""

    kind: ImageOpKind
    prompt: str
    model: str | None = None
    start_image: InputImage | None = None
    references: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    size: str | None = None
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None


class ProviderResult(msgspec.Struct, frozen=True, kw_only=True):
    """Image bytes as the vendor sent them. `usage` and `provider_meta` are the vendor's own, JSON-plain.

    Every deviation from the op (seed dropped, size rounded, …) is a sentence in `adjustments`. `units` is what the
    vendor bills this answer for, in the price table's units; empty when the answer does not tell.
    """

    data: bytes
    mime: str
    provider_meta: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    units: Units = {}
    adjustments: list[str] = []
    request_id: str | None = None


class Capability(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a model can do for one kind of operation; `sizes` and `qualities` open with the default."""

    kind: ImageOpKind
    model: str
    sizes: list[str]
    any_size: bool = False
    """Whether other sizes than the listed ones can be had too."""
    qualities: list[str] = []
    max_references: int = 0
    seed: bool = False
    negative_prompt: bool = False
    notes: list[str] = []
    """How this provider goes about the kind, where that is not plain."""


class OnProgress(Protocol):
    """Awaited by an adapter as it learns how far the vendor is; becomes `progress` events."""

    def __call__(
        self, fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> Awaitable[None]: ...


class ProviderAdapter(Protocol):
    id: str
    free: bool
    """True when a call costs nothing, so that a lost one may simply be made again."""
    needs: tuple[str, ...]
    """Environment names that must be set before it can be used; none for a built-in."""

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool: ...

    def capabilities(self) -> list[Capability]:
        """Every kind × model it can serve, the default model first."""
        ...

    def adjustments(self, op: ImageOp) -> list[str]:
        """What would be changed about this op, told before anything is spent (for `strict`)."""
        ...

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        """What the call will be billed for at least and at most, in the price table's units; both empty when free.

        The images of the op may be missing: then the most that they can be is counted.
        """
        ...

    async def run(self, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Make the one call.

        Fails: Refused (the vendor's no) · VendorFailed (answered without a usable image, or quota spent) ·
        Unavailable (nothing was done: could not connect, 429, answered 5xx; may carry `retry_after`) ·
        Uncertain (sent, outcome unknown).
        """
        ...


Providers = Mapping[str, ProviderAdapter]
