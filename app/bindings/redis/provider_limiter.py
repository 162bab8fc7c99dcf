"""The provider limiter: how many calls go to a vendor at once, and when none may. All processes share it over Redis.

Three things hold a call back. *Width*: one of the provider's PROVIDER_WIDTH slots must be free. *Pause*: the provider
asked everyone to wait. *Circuit*: the last calls of one model and kind all failed, so its circuit is open: callers are
turned away at once, also those in line, but for one probe at a time.

In each process one task per provider talks to Redis for all callers together, about one thing after the other. So a
caller that is cancelled, wherever it is, leaves by a plain function call, and nothing that was requested for it
overtakes its leaving.

A slot is a lease: it is renewed while its call goes on, and free again some time after its process died. The clock is
Redis's own; `lua/limiter_*.lua` decide.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from app.bindings.redis.connection import answering
from app.bindings.redis.scripts import BatchScript, Input
from tools.env import Circuit
from tools.errors import Unavailable
from tools.rows import new_id

OPENS_AFTER = 5
"""Outages in a row that open a circuit."""
SHORTEST_POLL, LONGEST_POLL = 0.1, 0.5
"""Seconds, before jitter, which takes up to half of them away."""
SPREAD = 0.25
"""After a pause each caller waits up to this share of it again, so that they do not all come at once."""
EXCHANGE_SECONDS, LOOK_SECONDS = 1.0, 2.0
REQUESTS_AT_ONCE = 100
UNSENT_REPORTS = 1000
"""Reports kept while Redis is away; a slot that could not be given back ends with its lease."""
SLACK_SECONDS = 0.02
DAY_MS = 86_400_000
PROVIDERS = "gates"
"""Sorted set: the providers, by when they were last used."""

Outcome = Literal["answered", "outage", "rate"]


@dataclass(frozen=True)
class Times:
    """All in seconds. A circuit is open for `open` first, twice as long after each probe that fails, `longest_open` at
    most.

    `step` is the first pause after a "not now" that names no time, twice as long while these go on, `longest_step` at
    most; `longest_pause` caps what a vendor asks for. Callers wait `away` for a Redis that does not answer.
    """

    lease: float
    open: float = 30.0
    longest_open: float = 300.0
    step: float = 1.0
    longest_step: float = 30.0
    longest_pause: float = 120.0
    away: float = 20.0


class Slot:
    """A caller's slot at a provider, or its place in the line for one."""

    def __init__(self, provider: "_Provider", circuit: str) -> None:
        self._provider, self.circuit, self.token = provider, circuit, new_id()
        self.joined = time.monotonic()
        self.due = 0.0
        """Monotonic; a request before is useless."""
        self.requested = False
        """Redis may know of it, so it must be released."""
        self.decision: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
        """None when the caller has the slot."""

    def report(self, outcome: Outcome, retry_after: float | None = None) -> None:
        """Say how the call ended; `retry_after` in seconds, as the vendor asked."""
        self._provider.report(self, outcome, round((retry_after or 0) * 1000))

    def decide(self, error: Unavailable | None) -> None:
        """Tell the caller."""
        # One that was cancelled in this very moment has not left yet.
        if not self.decision.done():
            self.decision.set_result(error)


class ProviderLimiter:
    """All providers, as this process sees them."""

    def __init__(self, client: Redis, widths: Mapping[str, int], times: Times) -> None:
        seconds = min(EXCHANGE_SECONDS, times.lease / 2)
        self._client, self._widths, self._times = client, widths, times
        self._scripts = _Scripts(
            *(BatchScript(client, f"limiter_{name}", seconds=seconds) for name in ("acquire", "report", "known"))
        )
        self._providers: dict[str, _Provider] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def acquire(self, provider: str, circuit: str) -> AsyncIterator[Slot]:
        """Hold a slot while the block runs. Fails: Unavailable (`circuit_open`; `redis_unavailable` after `away` s)."""
        if provider not in self._providers:
            width = self._widths.get(provider, self._widths["*"])
            self._providers[provider] = _Provider(provider, width, self._times, self._scripts)
            self._tasks.append(asyncio.create_task(self._providers[provider].run(), name=f"limiter of {provider}"))
        line = self._providers[provider]
        slot = line.join(circuit)
        try:
            if error := await slot.decision:
                raise error
            yield slot
        finally:
            line.leave(slot)

    async def circuits(self) -> dict[str, list[Circuit]]:
        """The circuits that were used within a day, by provider. Fails: Unavailable."""
        found: dict[str, list[Circuit]] = {}
        with answering():
            async with asyncio.timeout(LOOK_SECONDS):
                seconds, micros = await self._client.time()
                now = seconds * 1000 + micros // 1000
                for provider in await self._known_providers():
                    stored: Any = await self._client.hgetall(_keys(provider)["circuits"])
                    found[provider] = []
                    for name, data in sorted(stored.items()):
                        circuit = msgspec.json.decode(data, type=_StoredCircuit)
                        if circuit.at > now - DAY_MS:
                            state: Literal["open", "half-open", "closed"] = "closed"
                            if circuit.shut:
                                state = "open" if circuit.shut > now else "half-open"
                            found[provider].append(
                                Circuit(name.decode(), state, circuit.failures, circuit.shut or None)
                            )
        return found

    async def free(self) -> None:
        """Free every slot; only for one who knows that all their holders are dead. Fails: Unavailable."""
        with answering():
            for provider in await self._known_providers():
                keys = _keys(provider)
                await self._client.delete(keys["slots"], keys["line"])

    async def close(self) -> None:
        """Release what is held, as far as Redis answers, and turn away who waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(provider.close() for provider in self._providers.values()))

    async def _known_providers(self) -> list[str]:
        providers: Any = await self._client.zrange(PROVIDERS, 0, -1)
        return sorted(provider.decode() for provider in providers)


@contextlib.asynccontextmanager
async def open_provider_limiter(
    client: Redis, widths: Mapping[str, int], times: Times
) -> AsyncIterator[ProviderLimiter]:
    """The limiter; `widths` by provider, `*` for all others."""
    limiter = ProviderLimiter(client, widths, times)
    try:
        yield limiter
    finally:
        await limiter.close()


class _Scripts(NamedTuple):
    acquire: BatchScript
    report: BatchScript
    known: BatchScript


class _StoredCircuit(msgspec.Struct):
    """What Redis keeps of a circuit; `shut` and `at` in Redis's milliseconds, `shut` 0 while the circuit is closed."""

    failures: int
    shut: int
    at: int


class _Report(NamedTuple):
    slot: Slot
    outcome: Literal["answered", "outage", "rate", "renew", "release"]
    asked_ms: int = 0


def _keys(provider: str) -> dict[str, str]:
    """The provider's keys by their names in the scripts; their hash tag keeps them together in a cluster."""
    stored = {"slots": "places", "line": "line", "state": "state", "circuits": "lanes"}
    return {name: f"gate:{{{provider}}}:{part}" for name, part in stored.items()}


class _Provider:
    """One provider's callers in this process; `run` alone talks to Redis about it."""

    def __init__(self, provider: str, width: int, times: Times, scripts: _Scripts) -> None:
        self._provider, self._width, self._times, self._scripts = provider, width, times, scripts
        self._process = random.getrandbits(48)
        self._waiting: dict[str, Slot] = {}
        self._held: dict[str, Slot] = {}
        self._reports: deque[_Report] = deque(maxlen=UNSENT_REPORTS)
        self._news = asyncio.Event()
        self._renew_at = self._answered_at = 0.0
        self._polls = 0
        """Requests for slots since one was given."""

    def join(self, circuit: str) -> Slot:
        """A slot that is in line."""
        slot = Slot(self, circuit)
        self._waiting[slot.token] = slot
        self._news.set()
        return slot

    def leave(self, slot: Slot) -> None:
        """Release the slot, or leave the line."""
        self._waiting.pop(slot.token, None)
        self._held.pop(slot.token, None)
        if slot.requested:
            self.report(slot, "release")

    def report(self, slot: Slot, outcome: Outcome | Literal["release"], asked_ms: int = 0) -> None:
        """Send this to Redis soon."""
        self._reports.append(_Report(slot, outcome, asked_ms))
        self._news.set()

    async def run(self) -> None:
        """Send reports and request slots, until cancelled."""
        while True:
            self._news.clear()
            try:
                await self._send_reports()
                while self._reports:
                    await self._send_reports()
                await self._request_slots()
                self._answered_at = time.monotonic()
            except Unavailable:
                latest = time.monotonic() - self._times.away
                waiting = self._waiting.values()
                overdue = [slot for slot in waiting if max(slot.joined, self._answered_at) < latest]
                self._turn_away(overdue, "Redis did not answer", "redis_unavailable")
                await asyncio.sleep(random.uniform(0.5, 1) * SHORTEST_POLL)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds()):
                    await self._news.wait()

    async def close(self) -> None:
        """Turn away who waits and send the last reports. Only after `run` has ended."""
        self._turn_away([*self._waiting.values()], "this process is ending", "ending")
        with contextlib.suppress(Unavailable):
            await self._send_reports()

    async def _send_reports(self) -> None:
        """Send what is unsent, and renew the slots that are held when it is time."""
        now, unsent = time.monotonic(), [*self._reports]
        renewals = [_Report(slot, "renew") for slot in self._held.values()] if now >= self._renew_at else []
        if not unsent and not renewals:
            return
        self._reports.clear()
        try:
            if any(report.outcome != "release" for report in unsent):
                await self._scripts.known.run(self._provider.encode(), providers=PROVIDERS, forget=DAY_MS)
            times = {
                name: round(getattr(self._times, name) * 1000)
                for name in ("open", "longest_open", "step", "longest_step", "longest_pause")
            }
            await self._run(
                self._scripts.report,
                [f"{slot.token} {outcome} {ms} {slot.circuit}" for slot, outcome, ms in [*unsent, *renewals]],
                opens_after=OPENS_AFTER,
                forget=DAY_MS,
                **times,
            )
        except (Unavailable, asyncio.CancelledError):
            self._reports.extendleft(reversed(unsent))
            raise
        if renewals:
            self._renew_at = now + self._times.lease / 3

    async def _request_slots(self) -> None:
        """Ask for slots, and whether the circuits are open, and tell the callers."""
        began = time.monotonic()
        wanting, checking = self._choose(began)
        asking = [*wanting, *checking]
        if not asking:
            return
        for slot in asking:
            slot.requested = True
        items = [f"{slot.token} {int(slot in wanting)} {slot.circuit}" for slot in asking]
        answers = await self._run(self._scripts.acquire, items, width=self._width, process=self._process)
        self._polls += bool(wanting)
        # Not when this process was frozen in between, and not when a call has just been told to wait: then the slot
        # is requested again.
        usable = time.monotonic() - began < self._times.lease / 2 and not any(
            report.outcome == "rate" for report in self._reports
        )
        for slot, answer in zip(asking, answers, strict=True):
            if answer < 0:
                same = [other for other in self._waiting.values() if other.circuit == slot.circuit]
                message = "the provider did not answer lately, so it is left alone for a while"
                self._turn_away(same, message, "circuit_open", retry_after=-answer / 1000)
            elif answer > 1:
                end = time.monotonic() + answer / 1000
                for other in self._waiting.values():
                    if other.due < end - SLACK_SECONDS:
                        other.due = end + random.uniform(0, SPREAD) * answer / 1000
            elif answer == 0 and usable and slot.token in self._waiting:
                if not self._held:
                    self._renew_at = began + self._times.lease / 3
                self._polls = 0
                self._held[slot.token] = self._waiting.pop(slot.token)
                slot.decide(None)

    def _choose(self, now: float) -> tuple[list[Slot], list[Slot]]:
        """Who asks for a slot, first come first served, and who asks about its circuit for all others of that."""
        free = min(self._width - len(self._held), REQUESTS_AT_ONCE)
        wanting = [slot for slot in self._waiting.values() if slot.due <= now][: max(0, free)]
        circuits = {slot.circuit for slot in wanting}
        checking = {slot.circuit: slot for slot in self._waiting.values() if slot.circuit not in circuits}
        return wanting, [*checking.values()]

    def _idle_seconds(self) -> float | None:
        """Seconds until there is something to do without news; None when there is nothing."""
        now = time.monotonic()
        ends = [self._renew_at - now] if self._held else []
        if self._waiting:
            wanting, _ = self._choose(now)
            poll = min(SHORTEST_POLL * 2.0 ** min(self._polls - 1, 10), LONGEST_POLL) if wanting else LONGEST_POLL
            ends.append(random.uniform(0.5, 1) * poll)
            ends += [slot.due - now for slot in self._waiting.values() if slot.due > now]
        return max(0.0, min(ends)) if ends else None

    def _turn_away(self, slots: Iterable[Slot], message: str, code: str, retry_after: float | None = None) -> None:
        for slot in slots:
            del self._waiting[slot.token]
            slot.decide(Unavailable(message, code=code, retry_after=retry_after))

    async def _run(self, script: BatchScript, items: Sequence[str], **inputs: Input) -> list[int]:
        """The script's answers about this provider. Fails: Unavailable."""
        given = {**_keys(self._provider), "lease": round(self._times.lease * 1000), **inputs}
        runs = [script.run(item.encode(), **given) for item in items]
        answers = await asyncio.gather(*runs, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, int)]
