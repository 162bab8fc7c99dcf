"""Every SQL constant can be planned against the migrated schema of the databases it is meant for."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import tools
from app.bindings.database.postgres import numbered
from tests.support.environment import bare_env

MODULES = [found.name for found in pkgutil.walk_packages(tools.__path__, "tools.")] + [
    "app.ops.migrate",
    "app.bindings.database.postgres",
]
EXPLAIN = {"sqlite": "EXPLAIN ", "postgresql": "EXPLAIN (GENERIC_PLAN) "}
OTHER = {"sqlite": "_POSTGRESQL", "postgresql": "_SQLITE"}


def constants(dialect: str) -> dict[str, str]:
    """The module-level statements meant for a dialect, by module and name."""
    return {
        f"{module}.{name}": value
        for module in MODULES
        for name, value in vars(importlib.import_module(module)).items()
        if name.isupper() and isinstance(value, str) and not name.endswith(OTHER[dialect])
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", value)
    }


async def test_every_statement_fits_the_schema(database_url: str, tmp_path: Path) -> None:
    """A column or table that is misspelt anywhere is found here, on both databases."""
    async with bare_env(tmp_path, database_url) as env:
        found = constants(env.DB.dialect)
        assert "tools.db.GET_PROJECT" in found
        for name, sql in found.items():
            text, names = numbered(sql)
            statement = text if env.DB.dialect == "postgresql" else sql
            params = {} if env.DB.dialect == "postgresql" else dict.fromkeys(names)
            try:
                await env.DB.run(EXPLAIN[env.DB.dialect] + statement, **params)
            except Exception as error:
                pytest.fail(f"{name}: {error}")


async def test_every_statement_is_prepared_with_all_its_types(postgres_url: str, tmp_path: Path) -> None:
    """PostgreSQL can infer the type of each parameter, which asyncpg needs before it sends one."""
    async with bare_env(tmp_path, postgres_url) as env:
        for name, sql in constants("postgresql").items():
            try:
                await env.DB.run(f"PREPARE one AS {numbered(sql)[0]}")
                await env.DB.run("DEALLOCATE ALL")
            except Exception as error:
                pytest.fail(f"{name}: {error}")
