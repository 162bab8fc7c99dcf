"""The one door to the image providers: each call is prepared and sent under a deadline, and fails in known ways."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.answer_documents import CONTROL, HEAD_BYTES
from adapters.answer_images import UNKNOWN, arriving, image_within
from adapters.discovery import missing, providers
from adapters.planning import not_configured
from adapters.provider import Address, ImageOp, OnProgress, ProviderResult, Providers
from tools.env import Env, Slot
from tools.errors import PicassoError, Unavailable, Uncertain, VendorError, VendorFailed
from tools.fetch import fetch_bought
from tools.images import MOST_BYTES
from tools.media.memory import COPIES, current_hold
from tools.media.signatures import mime_of
from tools.step import step

log = logging.getLogger("picasso.router")

PREPARE_SECONDS = 240.0
"""For a request to be prepared on a busy machine, a place among the image children included."""


@step("router.prepare", retry=False)
async def prepare(
    provider: str, op: ImageOp, env: Env, known: Providers | None = None, *, seconds: float = PREPARE_SECONDS
) -> Any:
    """The request for `send`, made without the vendor and within `seconds`.

    Effect: none; it costs nothing and says nothing about the vendor.
    Fails: Invalid when the op cannot be served, or the provider's key is gone since the job was accepted · Unavailable
    when it could not be prepared: past the deadline, no image child, or the adapter broke.
    """
    adapter = (providers(env) if known is None else known)[provider]
    if unset := missing(adapter, env):
        raise not_configured(provider, unset)
    try:
        async with asyncio.timeout(seconds):
            return await adapter.prepare(op, env)
    except PicassoError:
        raise
    except TimeoutError as error:
        raise Unavailable("the request could not be prepared in time", code="prepare_deadline") from error
    except Exception as error:
        # Adapters may be other people's code: whatever else they raise must end this one item and nothing more.
        log.exception("the adapter of %s failed to prepare a request", provider)
        raise Unavailable("the adapter failed", code="adapter_failed") from error


@step("router.acquire", retry=False)
async def acquire(env: Env, stack: contextlib.AsyncExitStack, provider: str, *, circuit: str) -> Slot:
    """A slot at the provider, kept until the stack closes; waits in line for it.

    Fails: Unavailable (`circuit_open`) while calls of this model and kind keep failing.
    """
    return await stack.enter_async_context(env.PICASSO_WORKFLOW.acquire(provider, circuit))


@step("router.send", retry=False)
async def send(
    provider: str, request: Any, env: Env, on_progress: OnProgress, known: Providers | None = None
) -> ProviderResult:
    """Make the one call to a provider, with what `prepare` returned and under the deadline `VENDOR_SECONDS`.

    Effect: may cost money; it is made once, and only the ledger may decide to make it again.
    Fails: what `ProviderAdapter.send` says; Uncertain also past the deadline and when the adapter broke, but for a free
    one Unavailable and VendorFailed, since nothing can have been bought; VendorFailed when no bytes came, or the image
    is not at its address.
    """
    adapter = (providers(env) if known is None else known)[provider]
    arriving.set(bytearray())
    try:
        async with asyncio.timeout(env.settings.vendor_seconds) as deadline:
            hold = current_hold()
            # Waiting for our own memory is no slowness of the vendor's.
            with hold.stopping(deadline) if hold else contextlib.nullcontext():
                result = await adapter.send(request, env, on_progress)
    except VendorError:
        raise
    except TimeoutError as error:
        if adapter.free:
            raise Unavailable("the provider did not answer in time", code="deadline") from error
        return await _salvaged(Uncertain("the provider did not answer in time", code="deadline"), error)
    except Exception as error:
        log.exception("the adapter of %s failed", provider)
        if adapter.free:
            raise VendorFailed(
                "the adapter failed", code="adapter_failed", failure="invalid", provider_code="adapter_failed"
            ) from error
        # Whatever else an adapter raises came after it may have spent money: nobody can say that nothing was bought.
        return await _salvaged(Uncertain("the adapter failed", code="adapter_failed"), error)
    if not result.data:
        raise VendorFailed("the provider answered without an image", failure="empty")
    return await _fetched(env, result) if result.addresses else result


async def _salvaged(ended: Uncertain, cause: Exception) -> ProviderResult:
    """The image that had come before a call ended without a result. Fails: `ended`, with what had come instead."""
    ended.body = bytes(arriving.get())
    try:
        image = await asyncio.to_thread(image_within, ended.body, is_cut=True) if ended.body else None
    except Exception:
        log.exception("what had come of an answer could not be searched")
        image = None
    if image is None:
        raise ended from cause
    return ProviderResult(data=image, mime=mime_of(image) or UNKNOWN)


async def _fetched(env: Env, result: ProviderResult) -> ProviderResult:
    """The result with the image from its address.

    Under its own deadline: what was answered in time is not lost because the image is slow.
    Fails: VendorFailed (`empty`) with the answer and the addresses in it.
    """
    if data := await fetch_image(env, result.addresses):
        return msgspec.structs.replace(result, data=data, mime=mime_of(data) or UNKNOWN, addresses=())
    error = VendorFailed("the image could not be fetched", failure="empty", provider_status=200)
    error.request_id, error.units, error.body = result.request_id, result.units, result.data
    error.addresses = tuple((address.url, address.host) for address in result.addresses)
    raise error


async def fetch_image(env: Env, addresses: Sequence[Address]) -> bytes | None:
    """The first image that one of the addresses gives, else the first bytes that are no text; None without either."""
    unknown: bytes | None = None
    for address in addresses:
        try:
            data = await fetch_bought(env, address.url, address.host, max_bytes=MOST_BYTES)
        except Unavailable:
            continue
        if hold := current_hold():
            await hold.fit(COPIES * len(data))
        if image := await asyncio.to_thread(image_within, data):
            return image
        unknown = unknown or (data if CONTROL.search(data[:HEAD_BYTES]) else None)
    return unknown
