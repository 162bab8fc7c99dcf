"""Fixtures that every room's tests share."""

import pytest

pytest_plugins = ["tests.postgres", "tests.valkey", "tests.s3"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="how many times as often the promises with an n are tried")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """1 in a pull request, more in a soak: tests multiply their n by it."""
    return int(request.config.getoption("rounds"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
