"""How many bytes of images this process has in hand at once: IMAGE_MEMORY bounds them, by waiting.

Whoever is about to have the bytes of an image in memory holds as many of the budget. A hold that begins waits for its
turn; one that grows, as an answer does while it is read, waits until there is room, except for the oldest: it always
goes on, so somebody always ends. An image that is larger than the whole budget goes alone.

Nobody keeps bytes while waiting for anything else that others may have: who waits for a place at a vendor lends its
bytes meanwhile, and drops them as soon as somebody needs the room.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar

from anyio.lowlevel import RunVar

from tools.env import Env

COPIES = 2
"""How often an image is in memory while it is worked on: as it came, and on its way to BUCKET or to an image child."""


class Hold:
    """Bytes that one task has in hand."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget
        self._deadline: asyncio.Timeout | None = None
        self.size = 0

    async def grow(self, count: int) -> None:
        """Hold `count` bytes more, as soon as there is room."""
        with self._deadline_stopped():
            await self._budget.take(self, count)

    async def fit(self, size: int) -> None:
        """Hold `size` bytes from now on: less at once, more as soon as there is room."""
        if size > self.size:
            await self.grow(size - self.size)
        else:
            self._budget.give(self, self.size - size)

    @contextlib.contextmanager
    def lent(self, drop: Callable[[], None]) -> Iterator[None]:
        """Within the block the bytes may be taken for others: then `drop` lets go of them, and the hold is empty."""
        self._budget.lent[self] = drop
        try:
            yield
        finally:
            self._budget.lent.pop(self, None)

    @contextlib.contextmanager
    def stopping(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """Within the block, the deadline does not run while this hold waits for room."""
        self._deadline = deadline
        try:
            yield
        finally:
            self._deadline = None

    @contextlib.contextmanager
    def _deadline_stopped(self) -> Iterator[None]:
        deadline, loop = self._deadline, asyncio.get_running_loop()
        if deadline is None or deadline.expired() or (end := deadline.when()) is None:
            yield
            return
        left = end - loop.time()
        deadline.reschedule(None)
        try:
            yield
        finally:
            deadline.reschedule(loop.time() + left)


class Budget:
    """The bytes of one process. `total` is the most at once; one hold alone may have more."""

    def __init__(self, total: int) -> None:
        self.total, self.used, self.most = total, 0, 0
        """`most` is the largest that `used` has been."""
        self._holds: dict[Hold, None] = {}
        """Those that have bytes, the oldest first."""
        self.lent: dict[Hold, Callable[[], None]] = {}
        """Those whose bytes may be taken, and what lets go of them."""
        self._waiting: list[Hold] = []
        """Those that wait for their first bytes, in turn."""
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """An empty hold, which is let go of at the end."""
        held = Hold(self)
        try:
            yield held
        finally:
            self.give(held, held.size)

    async def take(self, hold: Hold, count: int) -> None:
        """Add to a hold, as soon as it may have more."""
        begins = hold not in self._holds
        if begins:
            self._waiting.append(hold)
        try:
            while not self._may(hold, count):
                if not self._take_back():
                    await self._changed.wait()
            self._holds[hold] = None
            hold.size += count
            self.used += count
            self.most = max(self.most, self.used)
        finally:
            if begins:
                self._waiting.remove(hold)
                self._wake()

    def give(self, hold: Hold, count: int) -> None:
        """Take from a hold."""
        hold.size -= count
        self.used -= count
        if not hold.size:
            self._holds.pop(hold, None)
        self._wake()

    def _may(self, hold: Hold, count: int) -> bool:
        fits = self.used + count <= self.total
        if hold in self._holds:
            return fits or next(iter(self._holds)) is hold
        return self._waiting[0] is hold and (fits or not self._holds)

    def _take_back(self) -> bool:
        """Whether something was lent that can be taken now: of the youngest first."""
        hold = next((hold for hold in reversed(self._holds) if hold in self.lent), None)
        if hold is None:
            return False
        self.lent.pop(hold)()
        self.give(hold, hold.size)
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


_budget: RunVar[Budget] = RunVar("picasso_image_memory")
_current: ContextVar[Hold | None] = ContextVar("picasso_image_hold", default=None)


def current_hold() -> Hold | None:
    """The hold of the task that is running, if it works within `in_hand`."""
    return _current.get()


@contextlib.asynccontextmanager
async def in_hand(env: Env, size: int = 0) -> AsyncIterator[Hold]:
    """A hold for an image of `size` bytes, as soon as there is room; 0 for one whose size shows as it arrives.

    Not to be nested: a task that waits for more while it holds some could wait for itself.
    """
    try:
        budget = _budget.get()
    except LookupError:
        _budget.set(budget := Budget(env.settings.image_memory))
    async with budget.hold() as held:
        if size:
            await held.grow(COPIES * size)
        token = _current.set(held)
        try:
            yield held
        finally:
            _current.reset(token)
