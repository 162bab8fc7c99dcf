"""Servers of the installation's own that speak OpenAI's image API, and what stands in front of a vendor.

What the gateway does here was observed of a LiteLLM proxy (1.110) in front of a counting server: asked to stream, it
buys three times and answers 500; an error 5xx of the vendor's it repeats by itself before it answers with one.
"""

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters import discovery, planning
from adapters.openai.servers import listed_models
from adapters.provider import ImageOp
from app.bindings.ai.registry import open_ai
from app.settings import SettingError, read_settings
from tests.support.environment import bare_env
from tests.support.files.images import encoded, textured
from tests.support.files.small_images import as_input, mask
from tests.support.image_calls import call_provider
from tests.support.internet import Answer, Received, Reply, Wire, picture
from tests.support.vendors.openai import coded
from tools.env import Env
from tools.errors import Invalid, Unavailable, Uncertain, VendorError, VendorFailed
from tools.rows import JobRequest

START = as_input(encoded(textured(300, 200), "PNG"))
MASK = as_input(mask((300, 200), (50, 40, 200, 160), "white"))
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
    "output_tokens": 196,
    "total_tokens": 206,
}


@dataclasses.dataclass
class Gateway:
    """A LiteLLM proxy as observed, below the path of each server of these tests; `bought` counts its vendor's calls.

    `fails`: how often its vendor fails with 500 for each call that it is asked for; it tries three times in all.
    """

    name: str = "openai"
    prefix: str = "/gate"
    fails: int = 0
    bought: int = 0

    def reply(self, call: Received, answer: Answer) -> Reply:
        if str(call.body.get("stream")).lower() == "true":
            self.bought += 3
            return refusal(500, "'str' object has no attribute 'model_dump'", "internal_server_error")
        self.bought += min(3, self.fails + 1)
        if answer.fault == "refuse":
            return refusal(400, "litellm.BadRequestError: no", "image_generation_user_error")
        if self.fails >= 3:
            return refusal(500, "litellm.InternalServerError: boom", "internal_server_error")
        data = [{"b64_json": coded(picture(self.bought)), "revised_prompt": None, "url": None}]
        return Reply(json.dumps({"created": 1, "data": data, "usage": USAGE, "output_format": "png"}).encode())


def refusal(status: int, message: str, kind: str) -> Reply:
    """How LiteLLM names an error: its code is the status again."""
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    return Reply(json.dumps({"error": error}).encode(), status)


async def deaf(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


@contextlib.asynccontextmanager
async def behind(home: Path, wire: Wire, **environ: str) -> AsyncIterator[Env]:
    """An `Env` as a user has it who has set these variables; `URL` in a value is the gateway's address."""
    given = {name: value.replace("URL", f"{wire.url}/gate") for name, value in environ.items()}
    chosen = read_settings({"PICASSO_HOME": str(home), "OPENAI_API_KEY": "sk-own", **given})
    async with open_ai(chosen) as ai, bare_env(home, settings=chosen, AI=ai) as env:
        yield env


async def paint(env: Env, provider: str = "openai", **fields: Any) -> None:
    await call_provider(provider, ImageOp(**{"kind": "generate", "prompt": "a fox", **fields}), env, deaf)


def job(provider: str, model: str | None = None) -> JobRequest:
    entry = {"provider": provider} | ({"model": model} if model else {})
    return JobRequest(prompt="a fox", providers=[entry], session_id="s")


async def test_a_gateway_is_asked_once_and_buys_once(tmp_path: Path) -> None:
    """With a base URL of the user's own nothing is streamed: one call, one purchase, one image."""
    gateway = Gateway()
    async with Wire(_vendors={"openai": gateway}) as wire, behind(tmp_path, wire, OPENAI_BASE_URL="URL") as env:
        await paint(env)
    (call,) = wire.calls
    assert gateway.bought == 1 and not {"stream", "partial_images"} & call.body.keys()


async def test_a_gateway_that_streams_is_asked_to_when_the_user_says_so(tmp_path: Path) -> None:
    """OPENAI_STREAM=true asks for previews; of one that cannot, all that is known is that it may have bought."""
    gateway, own = Gateway(), {"OPENAI_BASE_URL": "URL", "OPENAI_STREAM": "true"}
    async with Wire(_vendors={"openai": gateway}) as wire, behind(tmp_path, wire, **own) as env:
        with pytest.raises(Uncertain):
            await paint(env)
    assert wire.calls[0].body["stream"] is True and gateway.bought == 3


@pytest.mark.parametrize(("said", "kind"), [("uncertain", Uncertain), ("retry", Unavailable)])
async def test_what_fails_in_front_of_the_vendor_may_have_bought(
    tmp_path: Path, said: str, kind: type[VendorError]
) -> None:
    """Three tries of the gateway's stand behind its one 500, so it is never asked again by itself; unless VENDOR_5XX
    says that it is as good as the vendor."""
    own = {"OPENAI_BASE_URL": "URL", "VENDOR_5XX": said}
    async with Wire(_vendors={"openai": Gateway(fails=3)}) as wire, behind(tmp_path, wire, **own) as env:
        with pytest.raises(kind) as error:
            await paint(env)
    assert (error.value.failure, error.value.provider_status) == ("outage", 500)


async def test_a_gateways_no_is_no_doubt(tmp_path: Path) -> None:
    """A 4xx is an answer: nothing was bought, and nothing is uncertain."""
    async with Wire(_vendors={"openai": Gateway()}) as wire, behind(tmp_path, wire, OPENAI_BASE_URL="URL") as env:
        wire.scripts["openai"].append(Answer("refuse"))
        with pytest.raises(VendorError) as error:
            await paint(env)
    assert not isinstance(error.value, Uncertain) and error.value.provider_status == 400


async def test_a_model_that_nobody_knows_is_sent_what_everybody_takes(tmp_path: Path) -> None:
    """Its name, the words and the images, size and quality only where asked for; it is unpriced, never free."""
    own = {"OPENAI_BASE_URL": "URL", "OPENAI_MODELS": "flux-schnell, sd-turbo"}
    async with Wire(_vendors={"openai": Gateway()}) as wire, behind(tmp_path, wire, **own) as env:
        (quote,) = planning.plan(env, job("openai", "sd-turbo")).quotes
        assert planning.plan(env, job("openai")).items[0].model == "flux-schnell"
        await paint(env, model="flux-schnell", seed=7)
        await paint(env, model="sd-turbo", size="640x400", quality="hd")
        await paint(env, model="sd-turbo", kind="edit", start_image=START, references=(START,))
        await paint(env, model="sd-turbo", kind="inpaint", start_image=START, mask=MASK)
        await paint(env, model="sd-turbo", kind="outpaint", start_image=START)
    assert (quote.basis, quote.high) == ("ceiling", 500_000)
    words, sized, edit, inpaint, outpaint = wire.calls
    assert words.body == {"model": "flux-schnell", "prompt": "a fox"}
    assert sized.body == {"model": "sd-turbo", "prompt": "a fox", "size": "640x400", "quality": "hd"}
    sent = [[part.name for part in call.parts if part.filename] for call in (edit, inpaint, outpaint)]
    assert sent == [["image[]", "image[]"], ["image[]", "mask"], ["image[]", "mask"]]
    assert all(call.body == {"model": "sd-turbo", "prompt": "a fox"} for call in (edit, inpaint, outpaint))


async def test_a_servers_list_says_what_it_has(tmp_path: Path) -> None:
    """What `/models` lists can be asked for; a model of the catalogue keeps what is known of it, prices too."""
    wire = Wire(_vendors={"openai": Gateway()}, models=[{"id": "gpt-image-2"}, {"id": "flux"}, {"id": "gpt-6-luna"}])
    async with wire, behind(tmp_path, wire, OPENAI_BASE_URL="URL") as env:
        offered = discovery.providers(env)["openai"]
        assert list(dict.fromkeys(each.model for each in offered.capabilities())) == ["gpt-image-2", "flux"]
        assert [planning.plan(env, job("openai", name)).quotes[0].basis for name in ("gpt-image-2", "flux")] == [
            "estimate",
            "ceiling",
        ]
        with pytest.raises(Invalid, match="it has: gpt-image-2, flux"):
            planning.plan(env, job("openai", "gpt-image-1.5"))
    assert not wire.calls


def test_a_list_that_says_more_is_read_more_closely() -> None:
    """Gateways that say what a model gives are believed; most say nothing, and then its name is all there is."""
    said = [
        {"id": "a", "mode": "image_generation"},
        {"id": "b", "mode": "chat"},
        {"id": "c", "architecture": {"output_modalities": ["text", "image"]}},
        {"id": "d", "architecture": {"output_modalities": ["text"]}},
        {"id": "e", "object": "model"},
        {"id": "f", "type": "image"},
        {"id": "g", "output_modalities": ["embeddings"]},
    ]
    assert listed_models(json.dumps({"data": said}).encode()) == ("a", "c", "e", "f")


async def test_servers_stand_side_by_side(tmp_path: Path) -> None:
    """Each of IMAGE_SERVERS is a provider of its name, with its own key and models, and is unpriced."""
    servers = {"IMAGE_SERVERS": "flux=URL/v1,my-lab=URL/lab", "FLUX_API_KEY": "k-flux", "FLUX_MODELS": "schnell,dev"}
    async with Wire(_vendors={"openai": Gateway()}) as wire, behind(tmp_path, wire, **servers) as env:
        found = {info.id: info for info in discovery.describe(env)}
        assert {"openai", "gemini", "workers", "sketch", "flux", "my-lab"} == found.keys()
        assert found["flux"].configured and found["my-lab"].configured and not found["flux"].free
        assert planning.plan(env, job("flux")).quotes[0].basis == "ceiling"
        await paint(env, "flux")
        await paint(env, "my-lab", model="default")
    keyed, keyless = wire.calls
    assert (keyed.path, keyed.headers["authorization"], keyed.body["model"]) == (
        "/v1/images/generations",
        "Bearer k-flux",
        "schnell",
    )
    assert keyless.path == "/lab/images/generations" and keyless.body == {"prompt": "a fox"}
    assert "authorization" not in keyless.headers


async def test_azures_form_of_the_address_works(tmp_path: Path) -> None:
    """Every call carries its `api-version`, and the key in the header that Azure's deployments take."""
    own = {"OPENAI_BASE_URL": "URL/openai/deployments/prod?api-version=2025-04-01-preview", "OPENAI_MODELS": "prod"}
    async with Wire(_vendors={"openai": Gateway()}) as wire, behind(tmp_path, wire, **own) as env:
        await paint(env)
        with pytest.raises(VendorFailed):  # the gateway answers no chats: it is the question that matters
            await env.AI.chat_model("openai:prod").ainvoke("Light?")
    for call, path in zip(wire.calls, ("images/generations", "chat/completions"), strict=True):
        assert call.path == f"/openai/deployments/prod/{path}" and call.query == {"api-version": "2025-04-01-preview"}
        assert call.headers["api-key"] == "sk-own" and "authorization" not in call.headers


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("flux", "must list name=url pairs"),
        ("Flux=http://h/v1", "must list name=url pairs"),
        ("flux=", "must list name=url pairs"),
        ("sketch=http://h/v1", "there is a provider of that name"),
        ("flux=ftp://h", "must be an address"),
    ],
)
def test_a_server_that_cannot_be_one_ends_the_start(value: str, said: str) -> None:
    """By the name of the setting."""
    with pytest.raises(SettingError, match=rf"^IMAGE_SERVERS .*{said}"):
        read_settings({"IMAGE_SERVERS": value})


def test_a_servers_key_is_a_secret() -> None:
    """It is among what is never shown, of both stages."""
    given = {"IMAGE_SERVERS": "flux=http://h/v1", "FLUX_API_KEY": "k-flux", "PREVIEW_FLUX_API_KEY": "k-preview"}
    assert {"k-flux", "k-preview"} <= read_settings(given).secrets
    assert read_settings({**given, "PICASSO_ENV": "preview"}).image_servers["flux"].key == "k-preview"
