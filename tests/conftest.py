"""Fixtures and options that all tests share."""

import pytest

from tests.support.selection import starts_processes

LONGEST = ("tests/journeys", "tests/app/test_server", "tests/app/test_stream", "tests/app", "tests/generators")

pytest_plugins = ["tests.support.servers.postgres", "tests.support.servers.valkey", "tests.support.servers.s3"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=1, help="multiply the number of tries of tests that repeat something"
    )
    parser.addoption("--fast", action="store_true", help="only tests that start no server, browser or other process")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: long; only run where --rounds asks for more than one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out soaks unless --rounds asks for them, and with --fast all that starts a process.

    What takes longest comes first, so that no pytest process works on alone at the end.
    """
    items.sort(key=lambda item: next((at for at, room in enumerate(LONGEST) if room in item.nodeid), len(LONGEST)))
    soaking, fast = int(config.getoption("rounds")) > 1, bool(config.getoption("fast"))
    left_out = [
        item for item in items if (not soaking and item.get_closest_marker("soak")) or (fast and starts_processes(item))
    ]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """1 by default, more in a soak: tests multiply their number of tries by it."""
    return int(request.config.getoption("rounds"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
