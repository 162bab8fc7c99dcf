"""The contract with a vendor of images, on one page.

A provider is one object `adapter` that is a `ProviderAdapter`, in a module or package of this folder or in another
package that names it by an entry point of the group `picasso.adapters`. It turns an `ImageOp` into bytes in two acts:
`prepare` does all that needs no vendor and costs nothing; `send` makes exactly one call and never repeats it, because
only the ledger may decide to call again.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from tools.env import Env
from tools.models.catalog import Units
from tools.rows import Kind

ImageOpKind = Kind
Request = TypeVar("Request")
"""What an adapter prepares and sends; nobody else looks into it."""


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


class Address(msgspec.Struct, frozen=True):
    """Where a vendor keeps an image. `host` ("name:port") is set when it is the host at which we call the vendor: then
    it need not be public."""

    url: str
    host: str | None = None


class ProviderResult(msgspec.Struct, frozen=True, kw_only=True):
    """Image bytes as the vendor sent them. `usage` and `provider_meta` are the vendor's own, JSON-plain.

    Bytes that are no image are a result as well: they were paid for, and are kept. Where the vendor sent `addresses`
    instead, of which one has the image, `data` is the whole answer: the router fetches the image; where it cannot, the
    answer is kept. Every deviation from the op (seed dropped, size rounded, …) is a sentence in `adjustments`. `units`
    is what the vendor bills this answer for, in the price table's units; empty when the answer does not tell.
    """

    data: bytes
    mime: str
    addresses: tuple[Address, ...] = ()
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
    """Awaited by `send` as it learns how far the vendor is; becomes `progress` events."""

    def __call__(
        self, fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> Awaitable[None]: ...


@runtime_checkable
class ProviderAdapter(Protocol[Request]):
    """`env.AI.keys` has the values of what `needs` and `optional` name; they are secrets and never reach a log."""

    id: str
    free: bool
    """True when a call costs nothing, so that a lost one may simply be made again."""
    needs: tuple[str, ...]
    """Environment names that must be set before it can be used."""
    optional: tuple[str, ...]
    """Environment names that it uses where they are set. One that ends in `_BASE_URL` is an address."""

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

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """Everything that needs no vendor: decoding, masks, resizing, building the body, importing the SDK.

        Effect: none; it costs nothing and may be repeated.
        Fails: Invalid (the op cannot be served) · Unavailable (it could not be worked on now).
        """
        ...

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Make the one call.

        Effect: may cost money.
        Fails: Refused (the vendor's no) · VendorFailed (answered without an image, or quota spent) ·
        Unavailable (nothing was done: could not connect, 429, answered 5xx; may carry `retry_after`) ·
        Uncertain (sent, outcome unknown). Where an answer came that had begun as a success, the error's `body` has it:
        it is kept when it is charged.
        """
        ...


Providers = Mapping[str, ProviderAdapter[Any]]
