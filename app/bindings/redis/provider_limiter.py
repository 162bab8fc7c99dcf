"""The gates before the vendors: how many calls go out at once, and when none may. All processes share them over Redis.

Three things hold a call back. *Width*: a place among the provider's PROVIDER_WIDTH must be free. *Pause*: the provider
asked everyone to wait. *Breaker*: the last calls of a lane (model and kind) all failed, so but for one probe at a time
its callers are turned away at once, also those in line.

In each process one task per provider speaks with Redis, for all its callers together and about one thing after the
other. So a caller that is cancelled, wherever it stands, leaves by a plain function call; nothing that was asked for it
overtakes its leaving.

A place is a lease: it is renewed while its call goes on, and free again some time after its process died. The clock is
Redis's own.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from app.bindings.redis.connection import answering
from app.bindings.redis.scripts import TimelyScript
from tools.env import Circuit
from tools.errors import Unavailable
from tools.rows import new_id

OPENS_AFTER = 5
"""Outages of a lane in a row that open it."""
SHORTEST_POLL, LONGEST_POLL = 0.1, 0.5
"""Before jitter, which takes up to half of it away."""
SPREAD = 0.25
"""After a pause each waiter waits up to so much of it again, so that they do not all come at once."""
EXCHANGE_SECONDS, LOOK_SECONDS = 1.0, 2.0
ASKED_AT_ONCE = 100
UNSAID = 1000
"""Reports kept while Redis is away; a place that could not be given back ends with its lease."""
SLACK_SECONDS = 0.02
DAY_MS = 86_400_000

# What a provider's keys must say before anything is asked of them.
#
# Holders renew their places three times per lease. Where nobody was heard for longer, Redis was away or its clock has
# jumped: then those who live get half a lease to say so, before their places go to others. They get it once: half a
# millisecond marks the end of a place that nobody has renewed since.
TEND = """
local places, line, state, lanes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lease = tonumber(ARGV[1])
local stored = redis.call('HMGET', state, 'seen', 'pause', 'step')
local seen, pause, step = tonumber(stored[1]) or now, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
if now < seen then
    pause = pause - (seen - now)
    local known = redis.call('HGETALL', lanes)
    for i = 1, #known, 2 do
        local lane = cjson.decode(known[i + 1])
        if lane.shut > 0 then lane.shut = math.max(1, lane.shut - (seen - now)) end
        redis.call('HSET', lanes, known[i], cjson.encode(lane))
    end
end
if now < seen or now - seen > lease * 2 / 3 then
    local grace = now + math.floor(lease / 2) + 0.5
    local held = redis.call('ZRANGE', places, 0, -1, 'WITHSCORES')
    for i = 1, #held, 2 do
        local ends = tonumber(held[i + 1])
        if ends > now + lease or ends < grace and ends % 1 == 0 then
            redis.call('ZADD', places, string.format('%.1f', grace), held[i])
        end
    end
end
redis.call('ZREMRANGEBYSCORE', places, '-inf', now)

local function lane_of(name)
    local known = redis.call('HGET', lanes, name)
    return known and cjson.decode(known) or {failures = 0, shut = 0, period = 0, probe = ''}
end
local function keep(name, lane)
    lane.at = now
    redis.call('HSET', lanes, name, cjson.encode(lane))
end
"""
REST = """
redis.call('HSET', state, 'seen', now, 'pause', pause, 'step', step)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 86400000) end
"""

# Items: token, 1 for a wish or 0 for a look, lane. Answers: 0 the place is yours · n > 0 not for n ms at least ·
# n < 0 the lane is open for -n ms. A token that asks holds no place it knows of.
#
# Processes stand in line too, by the time of the last place that each was given: one place is left free for each that
# is ahead. Those that were not heard for a while have left.
ASK = f"""{TEND}
local width, me = tonumber(ARGV[2]), ARGV[3]
local waiting, since = redis.call('HGETALL', line), {{}}
for i = 1, #waiting, 2 do
    local joined, heard = string.match(waiting[i + 1], '(%d+) (%d+)')
    if math.abs(now - heard) > 1500 then
        redis.call('HDEL', line, waiting[i])
    else
        since[waiting[i]] = tonumber(joined)
    end
end
local mine, ahead, served, unserved = since[me] or now, 0, false, false
for who, joined in pairs(since) do
    if who ~= me and joined < mine then ahead = ahead + 1 end
end
local function shut_for(lane)
    if lane.shut > now then return lane.shut - now end
    local probing = lane.shut > 0 and redis.call('ZSCORE', places, lane.probe)
    return probing and math.max(1, probing - now) or 0
end
local function answer(token, wish, name)
    redis.call('ZREM', places, token)
    local lane = lane_of(name)
    local shut = shut_for(lane)
    if shut > 0 then return -shut end
    if pause > now then return pause - now end
    if wish == '0' then return 1 end
    if redis.call('ZCARD', places) + ahead >= width then
        unserved = true
        return 1
    end
    served = true
    redis.call('ZADD', places, now + lease, token)
    if lane.shut > 0 then
        lane.probe = token
        keep(name, lane)
    end
    return 0
end
for i = 4, last do
    answers[#answers + 1] = answer(string.match(ARGV[i], '^(%S+) (%d) (.+)$'))
end
if unserved then
    redis.call('HSET', line, me, string.format('%.0f %.0f', served and now or mine, now))
else
    redis.call('HDEL', line, me)
end
{REST}"""

# Items: token, what became of it, the milliseconds that the vendor asked to wait or 0, lane. `held` also takes a place
# back that was lost meanwhile: the call goes on all the same, and has to be counted.
TELL = f"""{TEND}
local open, longest_open = tonumber(ARGV[2]), tonumber(ARGV[3])
local first_step, longest_step, longest_pause = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local function hold_back(asked)
    if asked > 0 then
        pause = math.max(pause, now + math.min(asked, longest_pause))
    elseif pause <= now then
        step = step > 0 and math.min(step * 2, longest_step) or first_step
        pause = now + step
    end
end
local function count(lane, token, outcome)
    local probe = lane.probe == token
    if lane.shut > 0 and not probe then return end
    if outcome ~= 'outage' then
        lane.failures, lane.shut, lane.period, lane.probe = 0, 0, 0, ''
        return
    end
    lane.failures = lane.failures + 1
    if probe or lane.failures >= {OPENS_AFTER} then
        lane.period = probe and math.min(lane.period * 2, longest_open) or open
        lane.shut, lane.probe = now + lane.period, ''
    end
end
for i = 7, last do
    local token, outcome, asked, name = string.match(ARGV[i], '^(%S+) (%S+) (%d+) (.+)$')
    if outcome == 'held' then
        redis.call('ZADD', places, now + lease, token)
    elseif outcome == 'left' then
        redis.call('ZREM', places, token)
    else
        if outcome == 'rate' then hold_back(tonumber(asked)) end
        if outcome == 'answered' and pause <= now then step = 0 end
        local lane = lane_of(name)
        count(lane, token, outcome)
        keep(name, lane)
    end
    answers[#answers + 1] = 0
end
local known = redis.call('HGETALL', lanes)
for i = 1, #known, 2 do
    if cjson.decode(known[i + 1]).at < now - {DAY_MS} then redis.call('HDEL', lanes, known[i]) end
end
{REST}"""

GATES = "gates"
"""Providers, by when they were last heard of."""
KNOW = f"""
for i = 1, last do
    redis.call('ZADD', KEYS[1], now, ARGV[i])
    answers[#answers + 1] = 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {DAY_MS})
redis.call('PEXPIRE', KEYS[1], {DAY_MS})
"""

Outcome = Literal["answered", "outage", "rate"]


@dataclass(frozen=True)
class Times:
    """All in seconds. A lane is `open` first, twice as long after each probe that fails, `longest_open` at most.

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
    """A caller's place at a gate, or in the line before it."""

    def __init__(self, gate: "_Gate", lane: str) -> None:
        self._gate, self.lane, self.token = gate, lane, new_id()
        self.joined = time.monotonic()
        self.due = 0.0
        """Monotonic; there is no use in asking for the place before."""
        self.asked = False
        self.decided: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
        """None when the place is this caller's."""

    def report(self, outcome: Outcome, retry_after: float | None = None) -> None:
        self._gate.say(self, outcome, round((retry_after or 0) * 1000))


class ProviderLimiter:
    """The gates of all providers, as this process sees them."""

    def __init__(self, client: Redis, widths: Mapping[str, int], times: Times) -> None:
        seconds = min(EXCHANGE_SECONDS, times.lease / 2)
        self._client, self._widths, self._times = client, widths, times
        self._scripts = [TimelyScript(client, script, seconds=seconds) for script in (ASK, TELL, KNOW)]
        self._gates: dict[str, _Gate] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def acquire(self, provider: str, lane: str) -> AsyncIterator[Slot]:
        """Hold a place. Fails: Unavailable (`circuit_open`; `redis_unavailable` after `away` seconds)."""
        gate = self._gate(provider)
        place = gate.join(lane)
        try:
            if error := await place.decided:
                raise error
            yield place
        finally:
            gate.leave(place)

    def _gate(self, provider: str) -> "_Gate":
        if provider not in self._gates:
            width = self._widths.get(provider, self._widths["*"])
            gate = self._gates[provider] = _Gate(provider, width, self._times, self._scripts)
            self._tasks.append(asyncio.create_task(gate.tend(), name=f"gate {provider}"))
        return self._gates[provider]

    async def circuits(self) -> dict[str, list[Circuit]]:
        """The lanes used within a day. Fails: Unavailable."""
        with answering():
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._lanes()

    async def _lanes(self) -> dict[str, list[Circuit]]:
        seconds, micros = await self._client.time()
        now = seconds * 1000 + micros // 1000
        found: dict[str, list[Circuit]] = {}
        for provider in await self._providers():
            stored: Any = await self._client.hgetall(_keys(provider)[3])
            known = {name.decode(): msgspec.json.decode(lane, type=_Lane) for name, lane in sorted(stored.items())}
            found[provider] = [_shown(name, lane, now) for name, lane in known.items() if lane.at > now - DAY_MS]
        return found

    async def _providers(self) -> list[str]:
        providers: Any = await self._client.zrange(GATES, 0, -1)
        return sorted(provider.decode() for provider in providers)

    async def free(self) -> None:
        """Effect: gives back every place. For one who knows that all who held one are dead. Fails: Unavailable."""
        with answering():
            for provider in await self._providers():
                await self._client.delete(*_keys(provider)[:2])

    async def close(self) -> None:
        """Give back what is held, as far as Redis answers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(gate.end() for gate in self._gates.values()))


class _Lane(msgspec.Struct):
    """What a provider's hash keeps of a lane; `shut` and `at` in Redis's milliseconds, `shut` 0 while it is closed."""

    failures: int
    shut: int
    at: int


def _shown(name: str, lane: _Lane, now: int) -> Circuit:
    if not lane.shut:
        return Circuit(name, "closed", lane.failures)
    return Circuit(name, "open" if lane.shut > now else "half-open", lane.failures, lane.shut)


def _keys(provider: str) -> tuple[str, str, str, str]:
    """The provider's keys, in one slot of a cluster: places, line of processes, pause, lanes."""
    places, line, state, lanes = (f"gate:{{{provider}}}:{part}" for part in ("places", "line", "state", "lanes"))
    return places, line, state, lanes


class _Gate:
    """One provider's gate; `tend` is the only one who speaks with Redis about it."""

    def __init__(self, provider: str, width: int, times: Times, scripts: Sequence[TimelyScript]) -> None:
        self._provider, self._width, self._times = provider, width, times
        self._ask_script, self._tell_script, self._know_script = scripts
        self._process = random.getrandbits(48)
        self._waiting: dict[str, Slot] = {}
        self._held: dict[str, Slot] = {}
        self._unsaid: deque[tuple[Slot, str, int]] = deque(maxlen=UNSAID)
        self._news = asyncio.Event()
        self._renew_at = self._heard = 0.0
        self._misses = 0
        """Polls since a place was got."""

    def join(self, lane: str) -> Slot:
        place = Slot(self, lane)
        self._waiting[place.token] = place
        self._news.set()
        return place

    def leave(self, place: Slot) -> None:
        self._waiting.pop(place.token, None)
        self._held.pop(place.token, None)
        if place.asked:
            self.say(place, "left", 0)

    def say(self, place: Slot, outcome: str, asked_ms: int) -> None:
        self._unsaid.append((place, outcome, asked_ms))
        self._news.set()

    async def tend(self) -> None:
        """Run until cancelled."""
        while True:
            self._news.clear()
            try:
                await self._tell()
                while self._unsaid:
                    await self._tell()
                await self._ask()
                self._heard = time.monotonic()
            except Unavailable:
                self._give_up()
                await asyncio.sleep(random.uniform(0.5, 1) * SHORTEST_POLL)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rest()):
                    await self._news.wait()

    async def end(self) -> None:
        for place in [*self._waiting.values()]:
            self._turn_away(place, Unavailable("this process is ending", code="ending"))
        with contextlib.suppress(Unavailable):
            await self._tell()

    async def _tell(self) -> None:
        """Say what is unsaid, and renew what is held when it is time."""
        now, unsaid = time.monotonic(), [*self._unsaid]
        renewed = [(place, "held", 0) for place in self._held.values()] if now >= self._renew_at else []
        if not unsaid and not renewed:
            return
        self._unsaid.clear()
        breaker = (self._times.open, self._times.longest_open)
        pauses = (self._times.step, self._times.longest_step, self._times.longest_pause)
        try:
            items = [f"{place.token} {what} {ms} {place.lane}" for place, what, ms in [*unsaid, *renewed]]
            if any(what != "left" for _, what, _ in unsaid):
                await self._know_script.run((GATES,), (), self._provider.encode())
            await self._run(self._tell_script, tuple(round(s * 1000) for s in (*breaker, *pauses)), items)
        except (Unavailable, asyncio.CancelledError):
            self._unsaid.extendleft(reversed(unsaid))
            raise
        if renewed:
            self._renew_at = now + self._times.lease / 3

    async def _ask(self) -> None:
        """Ask for places, or how the lanes are, and tell the callers."""
        began = time.monotonic()
        wishes, looks = self._chosen(began)
        places = [*wishes, *looks]
        if not places:
            return
        for place in places:
            place.asked = True
        items = [f"{place.token} {int(place in wishes)} {place.lane}" for place in places]
        answers = await self._run(self._ask_script, (self._width, self._process), items)
        self._misses += bool(wishes)
        for place, answer in zip(places, answers, strict=True):
            if answer < 0:
                self._shut(place.lane, -answer / 1000)
            elif answer > 1:
                self._put_off(answer / 1000)
            elif answer == 0 and place.token in self._waiting and self._fresh(began):
                self._begin(place, began)

    def _chosen(self, now: float) -> tuple[list[Slot], list[Slot]]:
        """Who asks for a place, first come first served, and who looks for the others of its lane."""
        free = min(self._width - len(self._held), ASKED_AT_ONCE)
        wishes = [place for place in self._waiting.values() if place.due <= now][: max(0, free)]
        asked = {place.lane for place in wishes}
        looks = {place.lane: place for place in self._waiting.values() if place.lane not in asked}
        return wishes, [*looks.values()]

    def _fresh(self, began: float) -> bool:
        """Whether a place that was asked for then may be used.

        Not when this process was frozen in between, and not when a call has just been told to wait: then it is asked
        for again.
        """
        told = any(what == "rate" for _, what, _ in self._unsaid)
        return not told and time.monotonic() - began < self._times.lease / 2

    def _begin(self, place: Slot, began: float) -> None:
        if not self._held:
            self._renew_at = began + self._times.lease / 3
        self._misses = 0
        self._held[place.token] = self._waiting.pop(place.token)
        _decide(place, None)

    def _shut(self, lane: str, seconds: float) -> None:
        """Turn all away who wait for the lane."""
        for place in [place for place in self._waiting.values() if place.lane == lane]:
            message = "the provider did not answer lately, so it is left alone for a while"
            self._turn_away(place, Unavailable(message, code="circuit_open", retry_after=seconds))

    def _put_off(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for place in self._waiting.values():
            if place.due < end - SLACK_SECONDS:
                place.due = end + random.uniform(0, SPREAD) * seconds

    def _give_up(self) -> None:
        """Redis did not answer: turn away whom it has kept waiting for too long."""
        latest = time.monotonic() - self._times.away
        for place in [place for place in self._waiting.values() if max(place.joined, self._heard) < latest]:
            self._turn_away(place, Unavailable("Redis did not answer", code="redis_unavailable"))

    def _turn_away(self, place: Slot, error: Unavailable) -> None:
        del self._waiting[place.token]
        _decide(place, error)

    def _rest(self) -> float | None:
        """Seconds until there is something to do without news; None when there is nothing."""
        now = time.monotonic()
        rests = [self._renew_at - now] if self._held else []
        if self._waiting:
            wishes, _ = self._chosen(now)
            poll = min(SHORTEST_POLL * 2.0 ** min(self._misses - 1, 10), LONGEST_POLL) if wishes else LONGEST_POLL
            rests.append(random.uniform(0.5, 1) * poll)
            rests += [place.due - now for place in self._waiting.values() if place.due > now]
        return max(0.0, min(rests)) if rests else None

    async def _run(self, script: TimelyScript, args: tuple[int, ...], items: Sequence[str]) -> list[int]:
        given = (round(self._times.lease * 1000), *args)
        runs = [script.run(_keys(self._provider), given, item.encode()) for item in items]
        answers = await asyncio.gather(*runs, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, int)]


def _decide(place: Slot, error: Unavailable | None) -> None:
    # A caller that was cancelled in this very moment has not left yet.
    if not place.decided.done():
        place.decided.set_result(error)


@contextlib.asynccontextmanager
async def open_provider_limiter(
    client: Redis, widths: Mapping[str, int], times: Times
) -> AsyncIterator[ProviderLimiter]:
    gates = ProviderLimiter(client, widths, times)
    try:
        yield gates
    finally:
        await gates.close()
