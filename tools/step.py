"""`@step("area.verb")`: the one wrapper around every effect.

It is the contract's `step.do(name, fn)`: one log line per call, and retries of `Unavailable` alone.
The line's fields (`jobId`, `itemId`, `sessionId`, `provider`, `correlationId`) come from `log_context`.
"""

import asyncio
import functools
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from tools.errors import PicassoError, Unavailable, VendorError

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("picasso.step")
_fields: ContextVar[dict[str, Any]] = ContextVar("picasso_log_fields")
Spans = Callable[[str], AbstractContextManager[Callable[[Mapping[str, Any]], None]]]
"""Opens a span by its name; the fields passed to the result become the span's attributes."""
_spans: ContextVar[Spans] = ContextVar("picasso_spans")

TRIES = 3
BACKOFF_SECONDS = 0.1


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add fields to every log line written inside the block (also in tasks started there)."""
    token = _fields.set({**log_fields(), **{k: v for k, v in fields.items() if v is not None}})
    try:
        yield
    finally:
        _fields.reset(token)


@contextmanager
def use_spans(spans: Spans) -> Iterator[None]:
    """Open a span for every step inside the block (also in tasks started there)."""
    token = _spans.set(spans)
    try:
        yield
    finally:
        _spans.reset(token)


def log_fields() -> dict[str, Any]:
    """The fields of the current `log_context`, as a dict."""
    return _fields.get({})


def correlation_id() -> str:
    """The id that links a response or a `fail` event to its log lines; a random one outside of `log_context`."""
    return str(log_fields().get("correlationId") or uuid.uuid4().hex)


def step(
    name: str, *, retry: bool = True, idle: bool = False
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Decorate an async effect: a log line and a span per try, and up to `TRIES` tries while it is `Unavailable`.

    `retry=False` is for paid calls: only the ledger may decide to repeat one. `idle=True` is for what a server does now
    and then by itself: its lines are at DEBUG while all goes well, so that a server without work is silent.
    """

    def wrap(effect: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(effect)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for left in reversed(range(TRIES if retry else 1)):
                try:
                    return await _observed(name, effect(*args, **kwargs), idle)
                except Unavailable as error:
                    if left == 0:
                        raise
                    backoff = BACKOFF_SECONDS * 4 ** (TRIES - 1 - left) * random.uniform(0.8, 1.2)
                    await asyncio.sleep(min(error.retry_after or backoff, 2.0))
            raise AssertionError("unreachable")

        return call

    return wrap


async def retry_for(effect: Callable[[], Awaitable[T]], seconds: float = 600.0) -> T:
    """Repeat an effect while it is `Unavailable`: for storing paid results, which must not be lost.

    Fails: Unavailable, the last one, once `seconds` have passed.
    """
    end, pause = time.monotonic() + seconds, 0.25
    while True:
        try:
            return await effect()
        except Unavailable:
            if time.monotonic() + pause > end:
                raise
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 5.0)


async def _observed(name: str, effect: Awaitable[T], idle: bool) -> T:
    """One try, with its span and its log line."""
    started = time.monotonic()
    with _spans.get(_no_spans)(name) as set_attributes:
        try:
            result = await effect
        except BaseException as error:
            set_attributes(_line(name, started, error, getattr(error, "request_id", None), idle))
            raise
        set_attributes(_line(name, started, None, getattr(result, "request_id", None), idle))
        return result


def _no_spans(name: str) -> AbstractContextManager[Callable[[Mapping[str, Any]], None]]:
    return nullcontext(lambda fields: None)


def _line(name: str, started: float, error: BaseException | None, request_id: str | None, idle: bool) -> dict[str, Any]:
    """Log a try and return the line's fields. `request_id` is the vendor's, if it sent one."""
    fields: dict[str, Any] = {
        **log_fields(),
        "step": name,
        "ms": round((time.monotonic() - started) * 1000, 2),
        "outcome": "ok" if error is None else getattr(error, "code", type(error).__name__),
    }
    if isinstance(error, VendorError):
        fields |= {"providerCode": error.provider_code, "providerStatus": error.provider_status}
    if request_id is not None:
        fields["requestId"] = request_id
    expected = error is None or isinstance(error, PicassoError | asyncio.CancelledError)
    log.log(
        logging.ERROR if not expected else logging.DEBUG if idle and error is None else logging.INFO,
        name,
        extra={"fields": fields},
        exc_info=None if expected else error,
    )
    return fields
