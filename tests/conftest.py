"""Fixtures that every room's tests share."""

import pytest

pytest_plugins = ["tests.valkey"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
