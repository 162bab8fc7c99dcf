import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.support.deadlines import LONG
from tests.support.files.images import encoded, textured
from tests.support.processes import sandbox_work
from tools import images
from tools.errors import Invalid, Unavailable
from tools.media import pixels
from tools.media.sandbox import CHILDREN, run_in_child


@pytest.fixture(scope="module", autouse=True)
async def one_loop() -> AsyncIterator[None]:
    """One event loop, and with it the same children, for the whole module."""
    yield


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
async def test_a_child_killed_from_outside_is_repeated(tmp_path: Path, number: signal.Signals) -> None:
    """After a child is killed from outside, its work is repeated, and this process continues."""
    pid = os.getpid()
    child = await run_in_child(sandbox_work.die_once, str(tmp_path / "seen"), number)
    assert child != pid == os.getpid()


async def test_an_idle_child_that_is_killed_is_replaced() -> None:
    """A child killed while idle fails no image."""
    first = await run_in_child(os.getpid)
    os.kill(first, signal.SIGKILL)
    assert await run_in_child(os.getpid) != first


async def test_what_always_kills_its_child_is_rejected_after_three_tries(tmp_path: Path) -> None:
    """After three dead children the caller gets an error, and the next image is processed."""
    with pytest.raises(Invalid) as caught:
        await images._work(sandbox_work.die, str(tmp_path / "tries").encode())
    assert caught.value.code == "image_rejected"
    assert isinstance(caught.value.__cause__, Unavailable) and caught.value.__cause__.code == "image_child"
    assert (tmp_path / "tries").read_text() == "xxx"
    assert (await run_in_child(pixels.inspect, encoded(textured(), "PNG"))).mime == "image/png"


async def test_work_past_its_deadline_rejects_the_image_at_once(tmp_path: Path) -> None:
    """Bytes that take too long are rejected after one try, not three; the next decode works."""
    started = anyio.current_time()
    with pytest.raises(Invalid) as caught:
        await run_in_child(sandbox_work.spin, str(tmp_path / "tries"), seconds=0.3)
    assert caught.value.code == "image_rejected"
    assert (tmp_path / "tries").read_text() == "x"
    assert anyio.current_time() - started < 5
    assert await run_in_child(os.getpid) != os.getpid()


async def test_work_past_its_memory_rejects_the_image() -> None:
    """Bytes that need more memory than one image gets are rejected, and the child lives on."""
    before = await run_in_child(os.getpid)
    with pytest.raises(Invalid) as caught:
        await run_in_child(sandbox_work.grow)
    assert caught.value.code == "image_rejected"
    assert await run_in_child(os.getpid) == before


async def test_limits_are_set_in_the_child_alone() -> None:
    """The limits bind the child and leave this process as it was."""
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    assert 0 < (await run_in_child(resource.getrlimit, resource.RLIMIT_AS))[0] < 4 << 30
    assert 0 < (await run_in_child(resource.getrlimit, resource.RLIMIT_CPU))[0] < 10_000


async def test_an_interrupt_from_the_terminal_does_not_reach_the_answers() -> None:
    """Ctrl-C goes to the whole process group; the child ignores it and its answers still match the requests."""
    child = await run_in_child(sandbox_work.interrupt)
    os.kill(child, signal.SIGINT)
    assert await run_in_child(os.getpid) == child


async def test_errors_of_the_work_come_back_whole() -> None:
    """What the function raises in the child is raised here with its code, detail and status."""
    with pytest.raises(Invalid) as caught:
        await run_in_child(sandbox_work.refuse)
    assert (caught.value.code, caught.value.detail, caught.value.status) == ("image_rejected", {"a": 1}, 422)


async def test_a_caller_that_gives_up_ends_its_child(tmp_path: Path) -> None:
    """Cancelling kills the working child, and another one may start."""
    with anyio.move_on_after(LONG) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(run_in_child, sandbox_work.spin, str(tmp_path / "tries"))
            while not (tmp_path / "tries").exists():
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert await run_in_child(os.getpid) > 0


async def test_no_more_children_work_than_there_are_places(tmp_path: Path) -> None:
    """Callers beyond the limit of children wait, and are all served."""
    (tmp_path / "count").mkdir()
    answers: list[int] = []

    async def one() -> None:
        answers.append(await run_in_child(sandbox_work.stay, str(tmp_path / "gate"), str(tmp_path / "count")))

    async with anyio.create_task_group() as group:
        for _ in range(4 * CHILDREN):
            group.start_soon(one)
        with anyio.fail_after(LONG):
            while len(list((tmp_path / "count").iterdir())) < CHILDREN:
                await anyio.sleep(0.01)
        (tmp_path / "gate").touch()
    assert answers == [CHILDREN] * (4 * CHILDREN)


async def test_scipy_loads_in_the_child_alone_and_with_one_thread() -> None:
    """scipy is loaded in the child only, and there with one thread."""
    assert await run_in_child(sandbox_work.threads_after_scipy, encoded(textured(), "PNG")) == 1
