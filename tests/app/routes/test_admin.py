"""Health, readiness, metrics, models, tips and preferences; and the refusals of WebSocket handshakes."""

import datetime
import re
import resource
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.main import create_app
from tests.support.asgi_client import call, running_app
from tests.support.environment import settings
from tests.support.servers.picasso import Server, running
from tests.support.servers.shell import open_parts
from tools.models import catalog

KEY = "the-right-key-of-this-test-" + "0123456789" * 2


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    home = tmp_path_factory.mktemp("service")
    async with running(home, API_KEY=KEY, READS_NEED_KEY="true", CORS_ORIGINS="https://app.example") as server:
        yield server


async def test_readiness_names_each_binding(server: Server) -> None:
    """/readyz names DB, Redis, BUCKET and the assets, each with its time; it needs no key, as /healthz does not."""
    async with server.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        answer = (await client.get("/readyz")).json()
    assert answer["status"] == "ready" and list(answer["bindings"]) == ["DB", "Redis", "BUCKET", "assets", "disk"]
    assert all(reached["ok"] and reached["ms"] >= 0 for reached in answer["bindings"].values())


async def test_a_binding_that_fails_is_named(tmp_path: Path) -> None:
    """When a binding does not answer, /readyz is 503 and names it, while /healthz stays 200."""
    async with running_app(settings(tmp_path)) as app:
        shutil.rmtree(tmp_path / "bucket")
        answer = await call(app, "GET", "/readyz")
        assert answer.status == 503 and answer.json()["status"] == "failing"
        failed = {name: each["reason"] for name, each in answer.json()["bindings"].items() if not each["ok"]}
        assert failed.keys() == {"BUCKET"} and failed["BUCKET"] and str(tmp_path) not in failed["BUCKET"]
        assert (await call(app, "GET", "/healthz")).status == 200


async def test_a_full_disk_is_not_ready(tmp_path: Path) -> None:
    """/readyz is 503 with the reason while a disk is full, also before the server is ready, and heals."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "away").touch()
    waiting = create_app(settings(tmp_path), jobs=False, bindings=open_parts)
    async with running_app(settings(tmp_path / "running")) as app, waiting.lifespan():
        for one, status in ((app, "failing"), (waiting, "starting")):
            # No file may grow beyond this, so a disk seems full after it.
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, before[1]))
            try:
                answer = await call(one, "GET", "/readyz")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert (answer.status, answer.json()["status"]) == (503, status)
            assert answer.json()["bindings"]["disk"]["reason"] == "the disk of PICASSO_HOME is full"
        assert (await call(app, "GET", "/readyz")).status == 200


async def test_draining_is_not_ready(tmp_path: Path) -> None:
    """From the first signal on /readyz is 503."""
    async with running_app(settings(tmp_path)) as app:
        app.lifecycle.draining.set()
        answer = await call(app, "GET", "/readyz")
        assert (answer.status, answer.json()["status"]) == (503, "draining")


async def test_metrics_count_steps_and_rows(server: Server) -> None:
    """/metrics needs the key and shows the steps' times, the rows, the queue and the dead letters."""
    async with server.client() as client:
        assert (await client.get("/metrics")).status_code == 401
        await client.post("/api/projects", json={"name": "a"}, headers=server.headers)
        page = (await client.get("/metrics", headers=server.headers)).text
    assert 'picasso_step_seconds_count{outcome="ok",step="db.create_project"} 1.0' in page
    assert 'picasso_http_seconds_count{method="POST",route="/api/projects",status="201"} 1.0' in page
    assert 'picasso_http_seconds_count{method="GET",route="/metrics",status="401"} 1.0' in page
    assert re.search(r'^picasso_disk_free_bytes\{setting="DB"\} [1-9]', page, re.MULTILINE)
    numbers = ("event_lag_seconds", "queue_depth", "dead_letters", "view_drops_total")
    for name in (f"picasso_{number} 0.0" for number in numbers):
        assert f"\n{name}\n" in page


async def test_models_say_what_they_need(server: Server) -> None:
    """Each family of models has whether it is configured, what it needs, and which of its models are in use."""
    async with server.client(**server.headers) as client:
        items = {item["provider"]: item for item in (await client.get("/api/models")).json()["items"]}
    assert items["builtin"] == {
        "provider": "builtin",
        "configured": True,
        "needs": [],
        "reasoning": "builtin",
        "vision": "builtin",
        "image": [],
        "chat": [],
    }
    assert not items["openai"]["configured"] and items["openai"]["needs"] == ["OPENAI_API_KEY"]


async def test_models_say_what_they_can_do_and_cost(server: Server) -> None:
    """Every model of the catalogue is there, the default one first, each with its price of today and its source."""
    async with server.client(**server.headers) as client:
        items = {item["provider"]: item for item in (await client.get("/api/models")).json()["items"]}
    for provider in ("openai", "gemini", "workers"):
        images, chats = items[provider]["image"], items[provider]["chat"]
        assert [model["id"] for model in images] == [model.id for model in catalog.image_models(provider)]
        assert [model["default"] for model in images] == [True] + [False] * (len(images) - 1)
        assert [model["id"] for model in chats] == [model.id for model in catalog.chat_models(provider)]
        assert all(model["source"] and model["kinds"] and model["sizes"] for model in images)
        assert images[0]["price"]["source"] and all(chat["uses"] == [] for chat in chats)
    first = catalog.image_models("openai")[0]
    price = items["openai"]["image"][0]["price"]
    assert price["rates"] == first.price[0].rates and price["effective"] == first.price[0].effective.isoformat()
    assert price["priceVersion"] == f"openai/{first.id}@{price['effective']}"


async def test_providers_are_described(server: Server) -> None:
    """sketch is always there, free and configured, with its capabilities."""
    async with server.client(**server.headers) as client:
        items = {item["id"]: item for item in (await client.get("/api/providers")).json()["items"]}
    assert items["sketch"]["configured"] and items["sketch"]["free"] and items["sketch"]["capabilities"]
    assert all(capability["price"] is None for capability in items["sketch"]["capabilities"])


async def test_what_a_prices_file_says_is_shown(tmp_path: Path) -> None:
    """The price of a call is the one in PRICES for its model, wherever it is shown; servers of our own are among the
    families of models."""
    today = datetime.datetime.now(datetime.UTC).date()
    model, chat = catalog.image_models("openai")[0].id, catalog.chat_models("gemini")[0].id
    (tmp_path / "prices.toml").write_text(
        "".join(
            f'[[model]]\nprovider = "{provider}"\nid = "{name}"\n[[model.price]]\neffective = {day}\n'
            f'checked = {today}\nsource = "our contract"\nrates = {{ image = 0.03 }}\n'
            for provider, name, day in (
                ("sketch", "sketch-1", today),
                ("openai", model, today),
                ("gemini", chat, today + datetime.timedelta(days=1)),
            )
        )
    )
    settings = {
        "PRICES": str(tmp_path / "prices.toml"),
        "IMAGE_SERVERS": "lab=http://127.0.0.1:9/v1",
        "LAB_MODELS": "flux-schnell,sdxl",
    }
    async with running(tmp_path, **settings) as server, server.client() as client:
        providers = {item["id"]: item for item in (await client.get("/api/providers")).json()["items"]}
        families = {item["provider"]: item for item in (await client.get("/api/models")).json()["items"]}
    ours = {
        "rates": {"image": 0.03},
        "effective": today.isoformat(),
        "checked": today.isoformat(),
        "source": "our contract",
        "note": "",
        "priceVersion": f"sketch/sketch-1@{today}",
    }
    assert [capability["price"] for capability in providers["sketch"]["capabilities"]] == [ours] * 6
    assert families["openai"]["image"][0]["price"] == {**ours, "priceVersion": f"openai/{model}@{today}"}
    assert families["gemini"]["chat"][0]["price"] is None
    assert families["lab"]["configured"] and families["lab"]["needs"] == families["lab"]["chat"] == []
    assert [(model["id"], model["default"]) for model in families["lab"]["image"]] == [
        ("flux-schnell", True),
        ("sdxl", False),
    ]


async def test_tips_are_kept(server: Server) -> None:
    """A tip is set under `{provider}.{slug}` and listed; another kind of key is refused."""
    async with server.client(**server.headers) as client:
        put = await client.put("/api/knowledge/sketch.a-test", json={"tip": "Say\nmore.", "kinds": ["edit"]})
        assert put.json() == {"key": "sketch.a-test", "value": {"tip": "Say\nmore.", "kinds": ["edit"]}}
        assert put.json() in (await client.get("/api/knowledge?limit=200")).json()["items"]
        for key in ("sketch", "Sketch.x", "sketch.", ".x", "sketch.ü"):
            assert (await client.put(f"/api/knowledge/{key}", json={"tip": "x"})).status_code == 400, key
        assert (await client.put("/api/knowledge/sketch.x", json={"tip": "x", "kinds": []})).status_code == 400


async def test_preferences_are_kept(server: Server) -> None:
    """Preferences are one JSON object per owner, replaced as a whole, of at most 64 KiB."""
    async with server.client(**server.headers) as client:
        assert (await client.get("/api/preferences/me")).json() == {}
        for value in ({"theme": "dark", "deep": [{"a": None}]}, {"other": 1}):
            assert (await client.put("/api/preferences/me", json=value)).json() == value
            assert (await client.get("/api/preferences/me")).json() == value
        assert (await client.get("/api/preferences/Me")).json() == {}
        large = await client.put("/api/preferences/me", json={"x": "y" * (64 << 10)})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
        assert (await client.put("/api/preferences/me", json=[1])).status_code == 400
        assert (await client.get("/api/preferences/%20me")).status_code == 400


HANDSHAKES = [
    pytest.param("/api/stream/s", {}, 401, id="no key"),
    pytest.param("/api/stream/s?key=wrong", {}, 401, id="wrong key"),
    pytest.param("/api/stream/s", {"X-Api-Key": KEY[:-1]}, 401, id="a prefix of the key"),
    pytest.param(f"/api/stream/s?key={KEY}&key={KEY}", {}, 401, id="the key twice"),
    pytest.param(f"/api/stream/s?key={KEY}", {"Origin": "https://evil.example"}, 403, id="foreign origin"),
    pytest.param(f"/api/stream/s?key={KEY}", {"Origin": "null"}, 403, id="null origin"),
    pytest.param(f"/api/streams/s?key={KEY}", {"X-Api-Key": KEY}, 404, id="no such route"),
    pytest.param("/api//stream/s", {"X-Api-Key": KEY}, 404, id="another spelling"),
    pytest.param(f"/api/projects?key={KEY}", {"X-Api-Key": KEY}, 400, id="not a socket"),
]


@pytest.mark.parametrize(("target", "headers", "status"), HANDSHAKES)
async def test_a_refused_handshake_says_no_more_than_it_must(
    server: Server, target: str, headers: dict[str, str], status: int
) -> None:
    """A socket that may not be opened is refused before it is accepted, with the one error shape."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{server.port}{target}", additional_headers=headers, proxy=None):
            pass
    answer = refused.value.response
    assert answer.status_code == status
    assert b'{"error":{"code":"' in (answer.body or b"") and KEY.encode() not in (answer.body or b"")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        pytest.param("/api/stream/s", {"X-Api-Key": KEY}, id="by header"),
        pytest.param(f"/api/stream/s?key={KEY}", {}, id="by query"),
        pytest.param(f"/api/stream/s?key={KEY}", {"Origin": "https://app.example"}, id="from a known origin"),
    ],
)
async def test_the_stream_takes_the_key(server: Server, target: str, headers: dict[str, str]) -> None:
    """With READS_NEED_KEY the stream opens with the key, in the header or, for browsers, in the query."""
    async with connect(f"ws://127.0.0.1:{server.port}{target}", additional_headers=headers, proxy=None) as socket:
        await socket.send("ping")
        assert await socket.recv() == "pong"
    assert KEY not in server.log.read_text()
