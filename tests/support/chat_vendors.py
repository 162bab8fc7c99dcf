"""An `Env` whose chat models are simulated on real sockets, with prices; and its ledger of model calls."""

import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from app.bindings.ai.registry import Models, open_ai
from app.settings import Settings
from tests.support.environment import bare_env, settings
from tests.support.internet import Wire
from tests.support.samples.job_states import Work, working
from tools.env import Env
from tools.ledger.model_calls import CallKey, ModelCall

MODELS = {"openai": "openai:gpt-test", "gemini": "gemini:gemini-test", "workers": "workers:@cf/test"}
"""A model of each family; `VENDORS` plays it."""
VENDORS = {"openai": "openai_chat", "gemini": "gemini_chat", "workers": "workers_chat"}
RATES = {"openai": (2.0, 8.0), "gemini": (0.3, 2.5), "workers": (0.3, 2.0)}
PRICE = """
[[model]]
provider = "{provider}"
id = "{id}"
[[model.price]]
effective = 2026-01-01
checked = 2026-01-01
source = "this test"
rates = {{ text_input = {read}, text_output = {written} }}
"""
JUDGE = CallKey(purpose="judge", subject="item-1")
ROWS = "SELECT * FROM model_calls ORDER BY subject, number"


def chat_settings(home: Path, wire: Wire, **environ: str) -> Settings:
    """Settings in which every vendor's address leads to the wire and the test's models have prices."""
    prices = home / "prices.toml"
    home.mkdir(exist_ok=True)
    prices.write_text(
        "".join(
            PRICE.format(provider=family, id=model.partition(":")[2] + suffix, read=read, written=written)
            for family, model in MODELS.items()
            for read, written in [RATES[family]]
            for suffix in ("", "-no-schema", "-no-tools", "-deaf", "-mute")
        )
    )
    given = {
        "OPENAI_API_KEY": "k-openai",
        "OPENAI_BASE_URL": f"{wire.url}/openai/v1",
        "GEMINI_API_KEY": "k-gemini",
        "GOOGLE_GEMINI_BASE_URL": f"{wire.url}/chat/gemini",
        "CLOUDFLARE_ACCOUNT_ID": "ACCOUNT",
        "CLOUDFLARE_API_TOKEN": "k-workers",
        "CLOUDFLARE_BASE_URL": f"{wire.url}/cloudflare/client/v4",
        "PRICES": str(prices),
    }
    return settings(home, **{**given, **environ})


@contextlib.asynccontextmanager
async def chat_env(
    home: Path, wire: Wire, database_url: str = "", most: int | None = None, /, **environ: str
) -> AsyncIterator[Env]:
    """An `Env` with a database, a bucket and chat models; `most` is the limit of an answer in bytes."""
    chosen = chat_settings(home, wire, **environ, **({"DB": database_url} if database_url else {}))
    async with open_ai(chosen, most=most) as ai, bare_env(home, settings=chosen, AI=ai, **_defaults(chosen)) as env:
        yield env


@contextlib.asynccontextmanager
async def chat_job(home: Path, wire: Wire, prompt: str = "a red boat", **environ: str) -> AsyncIterator[Work]:
    """A claimed job whose `Env` has chat models."""
    chosen = chat_settings(home, wire, **environ)
    async with open_ai(chosen) as ai, working(home, prompt=prompt) as work:
        work.env = with_models(work.env, ai, chosen)
        yield work


def with_models(env: Env, ai: Models, chosen: Settings) -> Env:
    return dataclasses.replace(env, AI=ai, settings=chosen, **_defaults(chosen))


def _defaults(chosen: Settings) -> dict[str, Any]:
    return {
        "DEFAULT_MODEL_REASONING": chosen.default_model_reasoning,
        "DEFAULT_MODEL_VISION": chosen.default_model_vision,
    }


def unused_url() -> str:
    """An address on this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def rows(env: Env) -> list[ModelCall]:
    """The rows of the ledger of model calls."""
    return await env.DB.all(ROWS, ModelCall)
