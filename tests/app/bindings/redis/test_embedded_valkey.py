"""The embedded server under its supervisor: exactly one per data directory, whichever process dies."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.bindings.redis import embedded_valkey
from app.bindings.redis.connection import find_server, open_redis
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.valkey import ask

USER = Path(__file__).parents[3] / "support" / "processes" / "valkey_user.py"


class User:
    """Another process that uses the server."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", USER, embedded_valkey.__file__, home, find_server()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory with a space in its path."""
    return tmp_path / "my data" / "valkey"


@contextlib.contextmanager
def leased(home: Path, binary: Path | None = None) -> Iterator[embedded_valkey.Lease]:
    lease = embedded_valkey.Lease(home, binary or find_server())
    lease.take()
    try:
        yield lease
    finally:
        lease.close()


def wait_for(condition: Callable[[], object], seconds: float = LONG) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def processes(*words: str) -> list[int]:
    """Ids of the running processes whose command line has all the words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
            if all(word in line for word in words) and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def servers(home: Path) -> list[int]:
    return processes(f"unixsocket:{embedded_valkey._address(home)}\0")


def supervisors(home: Path) -> list[int]:
    return processes(f"-S\0{embedded_valkey.__file__}\0{home}\0")


def kill(pids: list[int]) -> None:
    """kill -9, and return when the kernel has taken the process's locks away."""
    (pid,) = pids
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def end(home: Path) -> None:
    """Kill both at once, which is quicker than to wait until they find themselves unused."""
    kill(supervisors(home))
    kill(servers(home))
    wait_for(lambda: not servers(home))


def answers(home: Path) -> bool:
    return ask(embedded_valkey._address(home), "PING") == "+PONG"


def test_six_starters_share_one_server(home: Path) -> None:
    """Of several processes at the same moment one starts the server, and the others find it."""
    users = [User(home) for _ in range(6)]
    try:
        assert {user.address() for user in users} == {embedded_valkey._address(home)}
        assert len(servers(home)) == len(supervisors(home)) == 1
    finally:
        for user in users:
            user.kill()


def test_the_last_user_killed_ends_the_server(home: Path) -> None:
    """The server lives while one user lives, and is gone about a second after kill -9 of the last one."""
    first, second = User(home), User(home)
    assert first.address() and second.address()
    server = servers(home)
    first.kill()
    with pytest.raises(AssertionError, match="not in time"):
        wait_for(lambda: servers(home) != server, 1.5)
    second.kill()
    wait_for(lambda: not servers(home) and not supervisors(home), 3)


def test_who_comes_at_once_after_the_last_user_finds_the_same_server(home: Path) -> None:
    """A process that is started anew does not have to wait for a stop and a start of Redis."""
    with leased(home):
        server = servers(home)
        time.sleep(2 * embedded_valkey.TICK)  # long enough for the supervisor to see the user
    time.sleep(2 * embedded_valkey.TICK)  # and to see none
    with leased(home):
        assert servers(home) == server


def test_a_killed_server_comes_back_with_its_data(home: Path) -> None:
    """kill -9 of the server is repaired by its supervisor, and no acknowledged write is lost."""
    with leased(home) as lease:
        for round in range(3):
            before = servers(home)
            acknowledged = 0
            while acknowledged < 300:
                assert ask(lease.address, f"SET {round}:{acknowledged} x") == "+OK"
                acknowledged += 1
            kill(before)
            wait_for(lambda: servers(home) not in ([], before) and answers(home))  # noqa: B023
            assert ask(lease.address, "DBSIZE") == f":{(round + 1) * 300}"


def test_the_server_of_a_killed_supervisor_is_adopted(home: Path) -> None:
    """Without its supervisor the server continues; the next user starts a new supervisor, which ends it eventually."""
    with leased(home):
        server = servers(home)
        kill(supervisors(home))
        assert answers(home)
        with leased(home):
            assert servers(home) == server
            assert len(supervisors(home)) == 1
        with leased(home):
            kill(servers(home))
            wait_for(lambda: servers(home) not in ([], server) and answers(home))


async def test_clients_carry_on_when_server_and_supervisor_are_killed(tmp_path: Path) -> None:
    """The running application puts a new supervisor in place; a client's command waits for the server it starts;
    and when it ends, it leaves no server without a supervisor behind."""
    async with open_redis(settings(tmp_path)) as redis:
        home = tmp_path / "valkey"
        await redis.client.set("kept", "1")
        kill(servers(home))
        assert await redis.client.get("kept") == b"1"
        kill(supervisors(home))
        kill(servers(home))
        while True:
            with contextlib.suppress(ConnectionError):
                assert await redis.client.get("kept") == b"1"
                break
        assert len(supervisors(home)) == len(servers(home)) == 1
        kill(supervisors(home))
    wait_for(lambda: not servers(home) and not supervisors(home), 5)


def test_what_lies_in_place_of_the_socket_is_replaced(home: Path) -> None:
    """No file in its place stops the server from binding its socket; one that is taken away comes back."""
    address = Path(embedded_valkey._address(home.parent / "valkey"))
    address.write_text("no socket")
    with leased(home) as lease:
        assert answers(home)
        wait_for(lambda: "uptime_in_seconds:1" in ask(lease.address, "INFO server", whole=True))
        address.unlink()
        wait_for(lambda: answers(home))


def test_a_cut_tail_costs_only_the_last_write(home: Path) -> None:
    """A write that is half in the append-only file is dropped; those before it are kept."""
    with leased(home) as lease:
        for n in range(10):
            ask(lease.address, f"SET {n} x")
        end(home)
    (file,) = (home / "appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 3)
    with leased(home) as lease:
        assert ask(lease.address, "DBSIZE") == ":9"
        assert lease.tend() == []


def garble(files: Path) -> None:
    (file,) = files.glob("*.incr.aof")
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    file.write_bytes(data)


def make_newer(files: Path) -> None:
    (file,) = files.glob("*.base.rdb")
    file.write_bytes(file.read_bytes().replace(b"VALKEY080", b"VALKEY999"))


def empty_base(files: Path) -> None:
    (file,) = files.glob("*.base.rdb")
    file.write_bytes(b"")


def lose_manifest(files: Path) -> None:
    (files / "appendonly.aof.manifest").unlink()


@pytest.mark.parametrize("damage", [garble, make_newer, empty_base, lose_manifest])
def test_data_that_cannot_be_read_is_kept_aside(home: Path, damage: Callable[[Path], None]) -> None:
    """When the data is damaged, incomplete or of a newer version, the server starts empty, reports it, and deletes
    nothing."""
    with leased(home) as lease:
        for n in range(100):
            ask(lease.address, f"SET {n} x")
        end(home)
    damage(home / "appendonlydir")
    damaged = {file.name: file.read_bytes() for file in (home / "appendonlydir").iterdir()}
    with leased(home) as lease:
        (line,) = lease.tend()
        assert "STARTS EMPTY" in line
        assert ask(lease.address, "DBSIZE") == ":0"
        (aside,) = home.glob("appendonlydir.unreadable-*")
        assert {file.name: file.read_bytes() for file in aside.iterdir()} == damaged
        assert lease.tend() == []


def test_a_machine_that_cannot_start_a_server_keeps_the_data(home: Path, tmp_path: Path) -> None:
    """Where no server would start, not even an empty one, the data is not to blame and stays where it is."""
    with leased(home) as lease:
        ask(lease.address, "SET kept x")
        end(home)
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho '1:M 1 Jan 2026 # out of order' >&2\nexit 1\n")
    broken.chmod(0o700)
    lease = embedded_valkey.Lease(home, broken)
    with pytest.raises(embedded_valkey.NotStarted, match="out of order"):
        lease.take(1.5)
    wait_for(lambda: not supervisors(home))
    assert "does not start: out of order" in (home / "supervisor.log").read_text()
    with leased(home) as again:
        assert ask(again.address, "STRLEN kept") == ":1"


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Sockets and data are trusted only in directories that are this user's alone."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name in ("open", "link"):
        with pytest.raises(PermissionError):
            embedded_valkey._own(tmp_path / name)
    embedded_valkey._own(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700


def test_a_lease_can_be_given_up_while_it_is_being_taken(home: Path, tmp_path: Path) -> None:
    """A start that is cancelled leaves nothing behind that would keep a server alive."""
    never = tmp_path / "valkey-server"
    never.write_text("#!/bin/sh\nexec sleep 60\n")
    never.chmod(0o700)
    lease = embedded_valkey.Lease(home, never)
    failures: list[Exception] = []

    def take() -> None:
        try:
            lease.take()
        except embedded_valkey.NotStarted as error:
            failures.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    wait_for(lambda: supervisors(home))
    lease.close()
    thread.join(2)
    assert len(failures) == 1
    wait_for(lambda: not supervisors(home))
