"""The API does what its OpenAPI document promises, for any request."""

import asyncio
import json
import os
import random
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.http.openapi import describe
from app.main import create_app
from tests.support.environment import settings
from tests.support.servers.forked import ROOT
from tests.support.servers.picasso import Server, running

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    home, command = tmp_path_factory.mktemp("contract"), ("app", "serve", "--no-jobs")
    async with running(home, command=command, API_KEY=KEY) as server:
        yield server


def no_server_errors(server: Server) -> None:
    assert not [line for line in server.lines() if line["level"] == "error"]


async def test_bad_input_is_never_a_server_error(server: Server, rounds: int) -> None:
    """Schemathesis finds no deviation from the document: all checks, every operation."""
    phases = "examples,coverage" if rounds == 1 else "examples,coverage,fuzzing,stateful"
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        "--config-file",
        str(HERE / "schemathesis.toml"),
        *("run", f"{server.url}/schema", "--checks", "all", "--phases", phases, "--no-color", "--workers", "2"),
        *("-n", str(5 * rounds), "--seed", "1", "--header", f"X-Api-Key: {KEY}"),
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        cwd=server.home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    no_server_errors(server)


def hostile_bodies() -> list[bytes]:
    """A hundred bodies that parsers and validators have stumbled over."""
    odd: list[Any] = [None, True, 0, -1, 1e308, 2**63, 2**70, "", " ", "\x00", "\ud7ff", "💥" * 999, [], {}, [[]], [{}]]
    texts = [
        "$ref",
        "__proto__",
        "constructor",
        "../../etc/passwd",
        "{{7*7}}",
        "' OR 1=1 --",
        "%s%n",
        "\u202e",
        "\ufeff",
    ]
    bodies = [json.dumps({"name": value}).encode() for value in [*odd, *texts]]
    bodies += [json.dumps({text: "x", "name": "x"}).encode() for text in texts]
    bodies += [json.dumps(value).encode() for value in odd]
    bodies += [
        b"",
        b" ",
        b"{",
        b"}",
        b"nul",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"'a'",
        b'{"name":"a",}',
        b'{"name":"a"}x',
    ]
    bodies += [b'{"name":"\\ud800"}', b'{"name":"\\udc00\\ud800"}', b'{"name":"\xff\xfe"}', b'{"name":"\xc0\xaf"}']
    bodies += [b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"name":"a","name":"b"}', b"[" * 50_000, b'{"a":' * 50_000]
    bodies += [b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"name":"' + b"a" * 100_000 + b'"}', b"0" * 100_000]
    bodies += [b'{"name":' + b"9" * 5000 + b"}", b'{"name":"a","description":"' + b"\\u0000" * 99 + b'"}', b"\x00" * 99]
    dice = random.Random(7)
    bodies += [dice.randbytes(dice.randint(1, 200)) for _ in range(100 - len(bodies))]
    return bodies


async def test_hostile_bodies_are_refused(server: Server) -> None:
    """A hundred hostile bodies end in 4xx or, where they are harmless, in 2xx; the log stays free of errors."""
    bodies = hostile_bodies()
    assert len(bodies) >= 100
    async with server.client(**server.headers, **{"Content-Type": "application/json"}) as client:
        project = (await client.post("/api/projects", json={"name": "p"})).json()["id"]
        routes = [("POST", "/api/projects"), ("PATCH", f"/api/projects/{project}"), ("PUT", "/api/preferences/me")]
        for method, path in routes:
            for body in bodies:
                answer = await client.request(method, path, content=body)
                assert answer.status_code in (200, 201, 400, 413, 422), (method, body[:80], answer.text)
    no_server_errors(server)


async def test_every_example_is_accepted(server: Server) -> None:
    """Every example of a request in the document passes validation when it is sent."""
    async with server.client(**server.headers) as client:
        document = (await client.get("/schema")).json()
        sent = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                assert not content or content["examples"] or "$ref" not in content["schema"], (method, path)
                for example in content.get("examples", {}).values():
                    target = path.replace("{key}", "sketch.example").replace("{", "").replace("}", "")
                    answer = await client.request(method.upper(), target, json=example["value"])
                    assert answer.status_code in (200, 201, 202, 404, 409), (method, path, answer.text)
                    sent += 1
        assert sent >= 4
    no_server_errors(server)


async def test_the_document_is_complete(tmp_path: Path) -> None:
    """Request objects admit no other fields, every operation is described and states its key and its refusals."""
    document = describe(create_app(settings(tmp_path, API_KEY=KEY), jobs=False))
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            assert {"400", "503", "default"} <= set(operation["responses"]), where
            assert ("401" in operation["responses"]) == bool(operation["security"]), where
            assert bool(operation["security"]) or method in ("get", "head") or path.startswith("/public/"), where
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            for each in [body, *body.get("anyOf", [])]:
                if "$ref" in each:
                    assert schemas[each["$ref"].rpartition("/")[2]]["additionalProperties"] is False, where
    paths = {path: sorted(operations) for path, operations in document["paths"].items()}
    for path, methods in paths.items():
        siblings = re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path)))
        for other in paths:
            assert not siblings.fullmatch(other) or paths[other] == methods, f"{other} answers for {path}"
    assert "cdn" not in json.dumps(document) and "http://" not in json.dumps(document)


async def test_the_document_is_json_only(server: Server) -> None:
    """/schema is the document; no page, no script and nothing else is served below it."""
    async with server.client(Accept="text/html") as client:
        for path in ("/schema", "/schema/openapi.json"):
            answer = await client.get(path)
            assert answer.status_code == 200 and answer.json()["openapi"].startswith("3.1")
            assert answer.headers["content-type"] == "application/vnd.oai.openapi+json"
        for path in ("/schema/redoc", "/schema/swagger", "/schema/elements", "/schema/openapi.yaml", "/schema/x/y"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
