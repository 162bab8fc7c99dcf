"""IMAGE_MEMORY: the bytes in hand stay within it, everybody's turn comes, and nobody waits for ever."""

import asyncio
import random

import pytest

from tests.support.deadlines import LONG
from tools.media.memory import Budget


async def test_what_is_in_hand_stays_within_the_budget() -> None:
    """Many images of known size, at once: never more than the budget together, and all are worked on."""
    budget, chance, done = Budget(100), random.Random(1), list[int]()

    async def work(size: int) -> None:
        async with budget.hold() as held:
            await held.grow(size)
            assert budget.used <= 100
            await asyncio.sleep(0)
            done.append(size)

    sizes = [chance.randint(1, 60) for _ in range(300)]
    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        for size in sizes:
            group.create_task(work(size))
    assert sorted(done) == sorted(sizes) and 60 < budget.most <= 100 and budget.used == 0


async def test_answers_that_grow_do_not_wait_for_each_other() -> None:
    """Answers of unknown size, read piece by piece, that together fill the budget: the oldest goes on, and all end; no
    more is in hand than the budget and one of them."""
    budget, ended = Budget(100), list[int]()

    async def read(name: int) -> None:
        async with budget.hold() as held:
            for _ in range(8):
                await held.grow(10)
                await asyncio.sleep(0)
            ended.append(name)

    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        for name in range(20):
            group.create_task(read(name))
    assert len(ended) == 20 and budget.most <= 100 + 80 and budget.used == 0


async def test_an_image_larger_than_the_budget_goes_alone() -> None:
    """It waits until nothing else is in hand, and what comes after it waits for it."""
    budget, order, go = Budget(100), list[str](), asyncio.Event()

    async def work(name: str, size: int) -> None:
        async with budget.hold() as held:
            await held.grow(size)
            order.append(f"{name} with {budget.used}")
            if name == "first":
                await go.wait()

    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        for name, size in (("first", 60), ("huge", 500), ("last", 10)):
            group.create_task(work(name, size))
            await asyncio.sleep(0)
        assert order == ["first with 60"]
        go.set()
    assert order == ["first with 60", "huge with 500", "last with 10"]


async def test_a_cancelled_wait_holds_nobody_up() -> None:
    """Whoever stops waiting gives up its turn, and whoever fails gives back its bytes."""
    budget = Budget(100)

    async def work(size: int, fail: bool = False) -> None:
        async with budget.hold() as held:
            await held.grow(size)
            if fail:
                raise ZeroDivisionError

    async with asyncio.timeout(LONG), budget.hold() as first:
        await first.grow(90)
        waiting = [asyncio.create_task(work(50)), asyncio.create_task(work(20, fail=True))]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await first.fit(10)
        with pytest.raises(ZeroDivisionError):
            await waiting[1]
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert budget.used == 10


async def test_who_waits_in_line_gives_its_room_to_others() -> None:
    """Items that prepared their calls and wait for the only place at a vendor, together with the one that has it and
    reads a long answer, and with others: all end, and never is more in hand than the budget and one answer."""
    budget, place, ended, prepared = Budget(100), asyncio.Lock(), list[int](), 0

    async def buy(name: int) -> None:
        nonlocal prepared
        async with budget.hold() as held:
            await held.grow(40)
            request = [name]
            prepared += 1
            with held.lent(request.clear):
                await place.acquire()
            try:
                if not request:
                    await held.fit(40)
                    prepared += 1
                for _ in range(9):
                    await held.grow(10)
                    await asyncio.sleep(0)
            finally:
                place.release()
            ended.append(name)

    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        for name in range(20):
            group.create_task(buy(name))
    assert len(ended) == 20 and budget.used == 0 and not budget.lent
    assert budget.most <= 100 + 130 and 20 < prepared <= 40


async def test_waiting_for_room_is_not_the_vendors_time() -> None:
    """The deadline of a call stands still while its answer waits for room here, and runs again afterwards."""
    budget, loop = Budget(100), asyncio.get_running_loop()
    async with asyncio.timeout(LONG), budget.hold() as first, budget.hold() as second:
        await first.grow(90)
        deadline = asyncio.timeout(3600)
        async with deadline:
            with second.stopping(deadline):
                waiting = asyncio.create_task(second.grow(50))
                await asyncio.sleep(0)
                assert deadline.when() is None
                await first.fit(0)
                await waiting
                end = deadline.when()
                assert end is not None and end > loop.time() and not deadline.expired()
