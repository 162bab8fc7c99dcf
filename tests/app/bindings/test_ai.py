"""AI: models by name on real sockets, keys that are missing, and errors in our words."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.bindings.ai.registry import Models, open_ai
from app.settings import SettingError
from tests.support.chat_vendors import MODELS, VENDORS, chat_settings, unused_url
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.internet import Answer, Fault, Wire
from tools.errors import Invalid, Refused, Unavailable, Uncertain, VendorError, VendorFailed

each_family = pytest.mark.parametrize("family", MODELS)


@contextlib.asynccontextmanager
async def played(home: Path, **environ: str) -> AsyncIterator[tuple[Wire, Models]]:
    async with Wire() as wire, open_ai(chat_settings(home, wire, **environ)) as models:
        yield wire, models


async def test_keys_and_one_client_are_there_and_the_client_is_closed(tmp_path: Path) -> None:
    """AI has the vendors' settings that are set and an HTTP client with deadlines that no proxy variable touches."""
    async with open_ai(settings(tmp_path, OPENAI_API_KEY="k", VENDOR_SECONDS="7")) as models:
        assert dict(models.keys) == {"OPENAI_API_KEY": "k"}
        assert (models.http.timeout.read, models.http.timeout.connect) == (7.0, 10.0)
        assert models.http.trust_env is False
        assert models.chat_model("builtin") is models.chat_model("builtin")
        with pytest.raises(Invalid, match="set GEMINI_API_KEY"):
            models.chat_model("gemini:gemini-3.5-flash")
    assert models.http.is_closed


@pytest.mark.parametrize("name", ["DEFAULT_MODEL_REASONING", "DEFAULT_MODEL_VISION"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("openai:gpt-6-luna", "set OPENAI_API_KEY"),
        ("gemini:gemini-3.5-flash", "set GEMINI_API_KEY"),
        ("@cf/meta/llama", "set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN"),
        ("openai", "a model is written as openai:…, gemini:…, workers:…"),
    ],
)
async def test_a_default_model_that_cannot_be_used_stops_the_start(
    tmp_path: Path, name: str, model: str, said: str
) -> None:
    """The message opens with the setting and names what to set."""
    with pytest.raises(SettingError, match=rf"^{name} is \S+: {said}$"):
        async with open_ai(settings(tmp_path, **{name: model})):
            raise AssertionError("opened")


async def test_a_judge_that_cannot_see_stops_the_start(tmp_path: Path) -> None:
    """A model that is known to read text alone is refused as a judge, because it would fail at each image."""
    blind = {"DEFAULT_MODEL_VISION": "@cf/meta/llama-3.3-70b-instruct-fp8-fast"}
    keys = {"CLOUDFLARE_ACCOUNT_ID": "a", "CLOUDFLARE_API_TOKEN": "k"}
    with pytest.raises(SettingError, match=r"^DEFAULT_MODEL_VISION is \S+: it cannot be shown images$"):
        async with open_ai(settings(tmp_path, **keys, **blind)):
            raise AssertionError("opened")


@pytest.mark.parametrize("name", ["DEFAULT_MODEL_REASONING", "DEFAULT_MODEL_VISION"])
def test_a_vendor_that_nobody_knows_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """An unknown word before the colon is no model at all."""
    with pytest.raises(SettingError, match=rf"^{name} must be builtin, openai:…"):
        settings(tmp_path, **{name: "acme:gpt"})


@each_family
async def test_a_model_answers_and_says_what_it_used(tmp_path: Path, family: str) -> None:
    """One name is one model, made once; one question is one request; the answer has its tokens."""
    async with played(tmp_path) as (wire, models):
        model = models.chat_model(MODELS[family])
        assert models.chat_model(MODELS[family]) is model
        answer = await model.ainvoke([{"role": "user", "content": "Which light?"}])
        assert answer.text == "Let soft light fall from the side."
        assert answer.usage_metadata and answer.usage_metadata["output_tokens"] == 9
        assert len(wire.calls) == len(wire.of(VENDORS[family])) == 1


ENDS: dict[Fault, tuple[type[VendorError], str]] = {
    "drop": (Uncertain, "outage"),
    "drop_after": (Uncertain, "outage"),
    "truncate": (Uncertain, "outage"),
    "hang": (Uncertain, "outage"),
    "wrong_mime": (VendorFailed, "invalid"),
    "rate": (Unavailable, "rate"),
    "quota": (VendorFailed, "quota"),
    "error": (Unavailable, "outage"),
}


@each_family
async def test_every_fault_is_one_request_and_one_of_our_errors(tmp_path: Path, family: str) -> None:
    """No SDK retries by itself, and each of its errors becomes one of ours without upstream text."""
    async with played(tmp_path, VENDOR_SECONDS="5") as (wire, models):
        for fault, (kind, failure) in ENDS.items():
            wire.scripts[VENDORS[family]].append(Answer(fault, retry_after="7"))
            before = len(wire.calls)
            with pytest.raises(VendorError) as raised:
                await models.chat_model(MODELS[family]).ainvoke("Which light?")
            assert (type(raised.value), raised.value.failure, fault) == (kind, failure, fault)
            assert len(wire.calls) == before + 1
            assert raised.value.message.startswith(("the model's vendor", "the quota of", "the rate limit of"))
            if isinstance(raised.value, Unavailable):
                assert (raised.value.retry_after, raised.value.request_id) == (7.0, wire.calls[-1].id)
                assert raised.value.provider_status in (429, 500, 503) and raised.value.provider_code


@each_family
async def test_a_vendors_no_is_told(tmp_path: Path, family: str) -> None:
    """A refusal is recognised as an error status, or in the metadata of an answer with status 200."""
    async with played(tmp_path) as (wire, models):
        wire.scripts[VENDORS[family]].append(Answer("refuse"))
        try:
            answer = await models.chat_model(MODELS[family]).ainvoke("Which light?")
        except Refused as refused:
            assert family == "workers" and refused.provider_code == "3030"
        else:
            assert answer.response_metadata["refused"] in ("refusal", "PROHIBITED_CONTENT")


@each_family
async def test_errors_of_a_stream_are_ours_too(tmp_path: Path, family: str) -> None:
    """Streamed answers raise the same errors."""
    async with played(tmp_path) as (wire, models):
        wire.scripts[VENDORS[family]].append(Answer("error"))
        with pytest.raises(Unavailable):
            async for _ in models.chat_model(MODELS[family]).astream("Which light?"):
                raise AssertionError("answered")


@each_family
async def test_what_was_never_reached_did_nothing(tmp_path: Path, family: str) -> None:
    """A connection that is refused is Unavailable: no byte has left."""
    names = ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "CLOUDFLARE_BASE_URL")
    async with played(tmp_path, **dict.fromkeys(names, unused_url())) as (_, models):
        with pytest.raises(Unavailable, match="could not be reached"):
            await models.chat_model(MODELS[family]).ainvoke("Which light?")


async def test_a_key_that_is_not_accepted_is_said_so(tmp_path: Path) -> None:
    """401 is neither an outage nor a refusal."""
    async with played(tmp_path, OPENAI_API_KEY="wrong") as (_, models):
        with pytest.raises(VendorFailed, match="did not accept our key") as raised:
            await models.chat_model(MODELS["openai"]).ainvoke("Which light?")
        assert (raised.value.provider_status, raised.value.provider_code) == (401, "invalid_api_key")


OPENAI_SAYS = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}
GEMINI_SAYS = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}]}


@pytest.mark.parametrize(("family", "says"), [("openai", OPENAI_SAYS), ("gemini", GEMINI_SAYS)])
async def test_no_connection_is_used_twice(tmp_path: Path, family: str, says: dict[str, object]) -> None:
    """A server that would keep it open gets a new one for each call: none can have died of age."""
    body, asked = json.dumps(says).encode(), list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked += [writer] if head.startswith(b"POST") else []
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        names = {"OPENAI_BASE_URL": url, "GOOGLE_GEMINI_BASE_URL": url}
        async with played(tmp_path, **names) as (_, models):
            for _ in range(3):
                assert (await models.chat_model(MODELS[family]).ainvoke("Light?")).text == "Yes."
        assert len(asked) == len(set(asked)) == 3


REDIRECTED = """
import asyncio, sys
from pathlib import Path
from tests.support.chat_vendors import MODELS, chat_settings
from tests.support.internet import Wire
from app.bindings.ai.registry import open_ai

async def main():
    async with Wire() as wire, open_ai(chat_settings(Path(sys.argv[1]), wire)) as models:
        for family, name in MODELS.items():
            await models.chat_model(name).ainvoke("Which light?")
        heads = [call.headers for call in wire.calls]
        print(len(heads), *sorted(head.get("authorization") or head["x-goog-api-key"] for head in heads))

asyncio.run(main())
"""


async def test_no_variable_of_a_library_redirects_a_call(tmp_path: Path) -> None:
    """Gateways, proxies, keys and addresses under the libraries' own names change nothing."""
    away = unused_url()
    redirects = {
        "LANGSMITH_GATEWAY": away,
        "LANGSMITH_GATEWAY_API_KEY": "lsv2_stolen",
        "OPENAI_API_BASE": away,
        "OPENAI_BASE_URL": away,
        "OPENAI_PROXY": away,
        "GOOGLE_GEMINI_BASE_URL": away,
        "GOOGLE_API_KEY": "stolen",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "HTTP_PROXY": away,
        "ALL_PROXY": away,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", REDIRECTED, str(tmp_path),
        env={**os.environ, **redirects, "NO_PROXY": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), LONG)
    assert out.decode().split() == ["3", "Bearer", "k-openai", "Bearer", "k-workers", "k-gemini"], err.decode()[-800:]


def test_a_start_with_the_built_in_models_loads_no_vendor() -> None:
    """A process that does not chat with a vendor's model spares seconds of imports."""
    code = "import sys, app.bindings.ai.registry, tools.models.chat_and_vision; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    assert "httpx" in loaded
    assert not loaded & {"openai", "google", "langchain_openai", "langchain_google_genai", "langchain_core"}


async def test_openais_own_models_think_little_and_go_where_they_must(tmp_path: Path) -> None:
    """Without another address OpenAI's is used, with low effort where the model has efforts."""
    async with open_ai(settings(tmp_path, OPENAI_API_KEY="k", GEMINI_API_KEY="k")) as models:
        quick, plain, gemini = (
            vars(models.chat_model(name))
            for name in ("openai:gpt-6-luna", "openai:gpt-4.1-mini", "gemini:gemini-3.5-flash")
        )
        assert (quick["openai_api_base"], quick["reasoning_effort"]) == ("https://api.openai.com/v1", "low")
        assert (plain["reasoning_effort"], gemini["reasoning_effort"]) == (None, "low")
        assert gemini["base_url"] == "https://generativelanguage.googleapis.com"
        assert (quick["max_retries"], gemini["max_retries"]) == (0, 1)
