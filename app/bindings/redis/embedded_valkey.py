"""The embedded Redis: one valkey-server per data directory, running exactly as long as a process uses it.

Neither Redis nor Valkey prevents a second server on the same directory, and two servers lose data that both have
acknowledged. So lock files in the data directory decide; the kernel releases a lock when its owner dies in any way:

    users.lock       shared: every process that uses the server
    start.lock       exclusive: the one of them that is finding or starting the server
    supervisor.lock  exclusive: the supervisor
    server.lock      exclusive: the supervisor and, by inheritance, the server; locked means that a writer exists

This file is also the supervisor's program, run as `python -I -S embedded_valkey.py`, so it imports the
standard library only.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

TICK = 0.2
GRACE_TICKS = 5
"""Ticks without a user after which the server is stopped; a process that restarts at once needs fewer."""
SUPERVISOR_LOG, SERVER_LOG = "supervisor.log", "server.log"
LOG_BYTES = 1 << 20
LONGEST_ADDRESS = 90
"""`sockaddr_un` takes 104 bytes on macOS; the rest is for the suffix of the trial server's socket."""


class NotStarted(Exception):
    """The server does not answer; the message is the last line of its log."""


class Lease:
    """This process's use of the server of one data directory. The kernel releases it when the process dies."""

    def __init__(self, home: Path, binary: Path) -> None:
        self._home, self._binary = home, binary
        self._given_up, self._turn = threading.Event(), threading.Lock()
        self._users: int | None = None
        self._report_offset = 0
        self.address = ""

    def take(self, seconds: float = 15.0) -> None:
        """Return when the server answers at `address`; starts it unless it runs. Blocks: call it in a thread.

        Fails: NotStarted · OSError when the directories cannot be used.
        """
        _own(self._home)
        self.address = _address(self._home)
        self._report_offset = _size(self._home / SUPERVISOR_LOG)
        self._users = _lock_file(self._home / "users.lock")
        try:
            # A supervisor that is stopping the server keeps this lock until it is done.
            self._await(self._users, fcntl.LOCK_SH, seconds)
            start = _lock_file(self._home / "start.lock")
            try:
                self._await(start, fcntl.LOCK_EX, seconds)
                self._await_answer(seconds)
            finally:
                os.close(start)
            if self._given_up.is_set():
                raise NotStarted("the lease was closed while the server started")
        except BaseException:
            self._release()
            raise

    def tend(self) -> list[str]:
        """Start a supervisor if there is none, and return the lines reported since the last call. Blocks."""
        if not _is_locked(self._home / "supervisor.lock"):
            self._start_supervisor()
        with (self._home / SUPERVISOR_LOG).open("rb") as file:
            file.seek(min(self._report_offset, _size(self._home / SUPERVISOR_LOG)))
            report = file.read()
            self._report_offset = file.tell()
        return report.decode(errors="replace").splitlines()

    def close(self) -> None:
        """Release the lease; `take` in another thread then fails."""
        self._given_up.set()
        self._release()

    def _release(self) -> None:
        with self._turn:
            users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def _await(self, lock: int, kind: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not _try(lock, kind):
            self._pause(deadline)

    def _await_answer(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (answer := _ask(self.address, b"PING")) != b"+PONG" or not _is_locked(self._home / "supervisor.lock"):
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + seconds
            if not _is_locked(self._home / "supervisor.lock"):
                self._start_supervisor()
            self._pause(deadline)

    def _pause(self, deadline: float) -> None:
        if self._given_up.wait(0.01) or time.monotonic() > deadline:
            raise NotStarted(_last_line(self._home / SERVER_LOG))

    def _start_supervisor(self) -> None:
        """Return when it has its lock. It is no child of this process, so it need not be reaped here."""
        with _log(self._home / SUPERVISOR_LOG) as log:
            subprocess.run(  # noqa: S603
                [sys.executable, "-I", "-S", __file__, str(self._home), str(self._binary), self.address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                timeout=10,
                check=False,
            )


class _Supervisor:
    """Runs in a process of its own: keeps one server running, and stops it when `users.lock` is free."""

    def __init__(self, home: Path, binary: str, address: str) -> None:
        self._home, self._binary, self._address = home, binary, address
        self._users = _lock_file(home / "users.lock")
        self._writer = _lock_file(home / "server.lock")
        self._server: subprocess.Popen[bytes] | None = None
        self._answered, self._started = False, 0.0
        self._refused, self._not_before = 0, 0.0

    def run(self) -> None:
        unused = 0
        while True:
            self._keep_up()
            time.sleep(TICK)
            if not _try(self._users, fcntl.LOCK_EX):
                unused = 0
            elif (unused := unused + 1) < GRACE_TICKS:
                fcntl.flock(self._users, fcntl.LOCK_UN)
            else:
                # The lock is kept: a new user waits until this process has ended, then starts another supervisor.
                self._stop()
                return

    def _keep_up(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._look_after(self._server)
            return
        if self._server is not None:
            self._note_exit(self._server.returncode)
            self._server = None
        # The server of a killed supervisor goes on serving, and is the only writer until it dies.
        if time.monotonic() < self._not_before or not _try(self._writer, fcntl.LOCK_EX):
            return
        self._set_aside_incomplete()
        self._server, self._started = self._spawn(self._home, self._address), time.monotonic()
        self._answered = False

    def _look_after(self, server: subprocess.Popen[bytes]) -> None:
        self._answered = self._answered or _ask(self._address, b"PING") == b"+PONG"
        # Cleaners of temporary directories delete sockets; a server without one is restarted to bind it again.
        due = self._answered or time.monotonic() > self._started + 3
        if due and not Path(self._address).exists():
            server.terminate()

    def _note_exit(self, code: int) -> None:
        if self._answered or code == -signal.SIGKILL:
            self._refused = 0
            return
        self._refused += 1
        self._not_before = time.monotonic() + min(0.05 * 2**self._refused, 2.0)
        if self._refused == 2:
            self._recover()

    def _recover(self) -> None:
        """Set aside data that the server refuses, but only if the server starts without it."""
        reason = _last_line(self._home / SERVER_LOG)
        if not self._accessible() or not self._starts_empty():
            _report(f"the embedded Redis does not start: {reason}")
        else:
            self._set_aside(reason)

    def _accessible(self) -> bool:
        files = (self._home / "appendonlydir").glob("*")
        return all(os.access(file, os.R_OK | os.W_OK) for file in files)

    def _starts_empty(self) -> bool:
        address = f"{self._address}.trial"
        with tempfile.TemporaryDirectory(dir=self._home, prefix="trial-") as directory:
            server = self._spawn(Path(directory), address)
            try:
                deadline = time.monotonic() + 5
                while server.poll() is None and time.monotonic() < deadline:
                    if _ask(address, b"PING") == b"+PONG":
                        return True
                    time.sleep(0.01)
                return False
            finally:
                server.kill()
                server.wait()
                Path(address).unlink(missing_ok=True)

    def _set_aside_incomplete(self) -> None:
        """Set aside data without a manifest or with an empty base file: the server would silently start empty."""
        files = list((self._home / "appendonlydir").glob("appendonly.aof.*"))
        manifest = any(file.suffix == ".manifest" for file in files)
        if files and (not manifest or any(".base." in file.name and not _size(file) for file in files)):
            self._set_aside("the append-only file is incomplete")

    def _set_aside(self, reason: str) -> None:
        for name in ("appendonlydir", "appendonly.aof"):  # the second is where servers before 7.0 write
            if (self._home / name).exists():
                aside = self._home / f"{name}.unreadable-{time.time_ns()}"
                (self._home / name).rename(aside)
                _report(f"the embedded Redis STARTS EMPTY: its data could not be read and lies in {aside} ({reason})")

    def _spawn(self, home: Path, address: str) -> subprocess.Popen[bytes]:
        _own(Path(address).parent)
        with _log(self._home / SERVER_LOG) as log:
            return subprocess.Popen(  # noqa: S603
                [
                    *(self._binary, "--port", "0", "--unixsocket", address, "--unixsocketperm", "700"),
                    *("--dir", str(home), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                    *("--maxmemory-policy", "noeviction", "--loglevel", "warning"),
                    *("--logfile", str(self._home / SERVER_LOG)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._writer,),
            )

    def _stop(self) -> None:
        if self._server is None:
            # The server was started by another supervisor, or there is none.
            _ask(self._address, b"SHUTDOWN")
            deadline = time.monotonic() + 10
            while not _try(self._writer, fcntl.LOCK_EX) and time.monotonic() < deadline:
                time.sleep(0.01)
            return
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


def supervise(home: Path, binary: str, address: str) -> None:
    """Become the supervisor of `home`, detached from the caller; return at once when there is one already."""
    # The descriptor, and with it the lock, stays open until this process ends.
    if not _try(_lock_file(home / "supervisor.lock"), fcntl.LOCK_EX):
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    # A signal to the whole group must not stop Redis while an application is still draining;
    # handlers, unlike SIG_IGN, are not inherited by the server.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _Supervisor(home, binary, address).run()


def _address(home: Path) -> str:
    """A socket path that is short enough, in a directory that only this user can access."""
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    paths = [Path(base) / f"picasso-{os.getuid()}" / f"{name}.sock" for base in (tempfile.gettempdir(), "/tmp")]  # noqa: S108
    path = next((path for path in paths if len(os.fsencode(path)) <= LONGEST_ADDRESS), paths[-1])
    _own(path.parent)
    return str(path)


def _own(directory: Path) -> None:
    """Create the directory, or check that only this user can access it.

    Fails: PermissionError when another user owns it or has access.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(0, "must be a directory of this user with mode 0700", str(directory))


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    lock = _lock_file(path)
    try:
        return not _try(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _ask(address: str, command: bytes) -> bytes:
    """The first line of the answer; empty when there was none within half a second."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(0.5)
            connection.connect(address)
            connection.sendall(command + b"\r\n")
            return connection.recv(128).partition(b"\r\n")[0]
    except OSError:
        return b""


@contextlib.contextmanager
def _log(path: Path) -> Iterator[int]:
    if _size(path) > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def _report(line: str) -> None:
    os.write(2, f"{line}\n".encode())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_line(path: Path) -> str:
    """The last line of the log, without its time stamp."""
    if not _size(path):
        return "it wrote no log"
    with path.open("rb") as file:
        file.seek(max(0, _size(path) - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].rpartition(" # ")[2].strip()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
