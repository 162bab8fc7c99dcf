"""Fixtures that every room's tests share."""

import pytest

LONGEST = ("tests/journeys", "tests/app/test_server", "tests/app/test_stream", "tests/app", "tests/generators")

pytest_plugins = ["tests.support.servers.postgres", "tests.support.servers.valkey", "tests.support.servers.s3"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="how many times as often the promises with an n are tried")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: long; only run where --rounds asks for more than one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What has a lighter test of the same promise beside it is left to soaks, so that all else ends in ten minutes;
    what takes longest begins first, so that no process works on alone at the end."""
    items.sort(key=lambda item: next((at for at, room in enumerate(LONGEST) if room in item.nodeid), len(LONGEST)))
    if int(config.getoption("rounds")) > 1:
        return
    soaks = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=soaks)
    items[:] = [item for item in items if item not in soaks]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """1 in a pull request, more in a soak: tests multiply their n by it."""
    return int(request.config.getoption("rounds"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
