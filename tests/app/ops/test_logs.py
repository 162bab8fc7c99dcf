"""Log lines: one valid line per event, without secrets, whatever is logged."""

import contextlib
import io
import json
import logging
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.ops import logs
from app.ops.logs import HIDDEN, JsonLines, Redaction, logging_to
from app.settings import read_settings
from tests.support.asgi_client import call, running_app
from tests.support.environment import settings
from tests.support.servers.picasso import running
from tests.support.servers.shell import SHELL, open_parts
from tools.errors import Unavailable
from tools.step import log_context, step

NASTY = [
    "line\nbreak",
    "carriage\rreturn",
    'both\r\n{"ts": 0, "msg": "forged"}',
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "nul\x00byte",
    "\u202eright to left\u202c",
    "\u2066isolated\u2069",
    "\u2028separators\u2029",
    "\x85\x9bC1",
    "\ufeffmark\u200b",
    "lone \ud800 surrogate",
    '"quoted\\" \\u000a',
    "</script><b>",
    "%s %d %(name)s {0} ${jndi:ldap://x}",
    "🎨 Köln 日本",
]
FIELDS = ["jobId", "itemId", "sessionId", "provider", "step", "outcome", "providerCode", "correlationId", "x\ny"]
SECRETS = {
    "API_KEY": "canary-api-key-0123456789-0123456789",
    "OPENAI_API_KEY": "canary-openai-0123456789",
    "GEMINI_API_KEY": "canary-gemini-0123456789",
    "CLOUDFLARE_API_TOKEN": "canary-cloudflare-0123456789",
    "AWS_ACCESS_KEY_ID": "canary-aws-id-0123456789",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-0123456789",
    "AWS_SESSION_TOKEN": "canary-aws-session-0123456789",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary-otel-0123456789",
    "PREVIEW_API_KEY": "canary-preview-key-0123456789-0123456789",
    "PREVIEW_OPENAI_API_KEY": "canary-preview-openai-0123456789",
    "PREVIEW_REDIS_URL": "redis://me:canary-redis-0123456789@localhost:1",
    "PREVIEW_DB": "postgresql://me:canary-db%400123456789@localhost:1/x",
}


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, each line parsed; nothing but `\\n` separates lines."""
    text = stream.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\u200b]", text)
    return [json.loads(line) for line in text.split("\n")[:-1]]


@contextlib.contextmanager
def no_other_handler() -> Iterator[None]:
    """The runner's own log handlers are away: what a nasty line is made of must not end up in its report."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers.extend(handlers)


def test_lines_cannot_be_forged() -> None:
    """Line breaks, escapes, bidi marks and NUL in any field leave one valid JSON object per event."""
    stream, log, written = io.StringIO(), logging.getLogger("picasso.test"), 0
    with no_other_handler(), logging_to(stream, ()):
        for text in NASTY:
            for name in FIELDS:
                log.warning("about %s", text, extra={"fields": {name: text, "nested": {text: [text]}}})
                written += 1
            log.warning(text)
            log.error("raised", exc_info=ValueError(text))
            written += 2
    found = lines(stream)
    assert len(found) == written
    assert all({"ts", "level", "msg"} <= set(line) and isinstance(line["ts"], int) for line in found)
    assert found[0]["jobId"] == NASTY[0] and not any(line["msg"] == "forged" for line in found)


def test_a_line_with_wrong_arguments_is_written() -> None:
    """A message that does not fit its arguments is still one line."""
    record = logging.makeLogRecord({"msg": "%d of %s", "args": ("x",), "levelname": "INFO"})
    assert json.loads(JsonLines(Redaction(())).format(record))["msg"] == "%d of %s"


def test_fields_cannot_replace_what_a_line_is() -> None:
    """Time, level and message are the event's own, whatever its fields are called."""
    stream = io.StringIO()
    with logging_to(stream, ()):
        logging.getLogger("picasso.test").info("true", extra={"fields": {"ts": 0, "level": "x", "msg": "false"}})
    (line,) = lines(stream)
    assert (line["level"], line["msg"]) == ("info", "true") and line["ts"] > 0


def test_secrets_are_hidden() -> None:
    """No configured secret and nothing that looks like a key gets into a line, a field or a traceback."""
    stream, log = io.StringIO(), logging.getLogger("picasso.test")
    alike = ["sk-proj-abcdefghijkl", "AIzaSyA0123456789abcdefghijklm", "AKIAABCDEFGHIJKLMNOP", "Bearer abcdefghijkl=="]
    alike += ["/api/stream/s?since=1&key=abcdefghijkl", "redis://user:abcdefghijkl@host/0", "?api_key=abcdefghijkl"]
    passwords = ["canary-redis-0123456789", "canary-db%400123456789", "canary-db@0123456789", "canary-otel-0123456789"]
    with logging_to(stream, read_settings(SECRETS).secrets):
        for secret in [*SECRETS.values(), *passwords, *alike]:
            log.warning("with %s", secret, extra={"fields": {"a": secret, "b": {secret: [f"x{secret}x"]}}})
            try:
                raise RuntimeError(f"cannot use {secret}")
            except RuntimeError:
                log.exception("failed")
    text = stream.getvalue()
    assert text.count(HIDDEN) > 100
    assert "canary" not in text and "abcdefghijkl" not in text and "0123456789" not in text


def test_long_text_and_bytes_are_cut() -> None:
    """A prompt over 200 characters is cut, image bytes are only counted, numbers stay numbers."""
    line = json.loads(
        JsonLines(Redaction(())).format(
            logging.makeLogRecord(
                {
                    "msg": "m" * 500,
                    "levelname": "INFO",
                    "fields": {
                        "prompt": "p" * 500,
                        "image": b"\x89PNG" * 99,
                        "ms": 1.5,
                        "nan": math.nan,
                        "job": object(),
                    },
                }
            )
        )
    )
    assert len(line["msg"]) == len(line["prompt"]) == 200 and line["prompt"].endswith("…")
    assert (line["image"], line["ms"], line["nan"], line["job"]) == ("[396 bytes]", 1.5, "nan", "[object]")


async def test_a_step_writes_one_line_with_its_fields() -> None:
    """A tool call is one line with its name, time, outcome and what is bound around it."""

    @step("test.act")
    async def act() -> None: ...

    stream = io.StringIO()
    with logging_to(stream, ()), log_context(jobId="j", sessionId="s", correlationId="c"):
        await act()
        logging.getLogger("picasso.other").info("beside")
    first, second = lines(stream)
    assert {**first, "ts": 0, "ms": 0} == {
        "ts": 0,
        "level": "info",
        "msg": "test.act",
        "jobId": "j",
        "sessionId": "s",
        "correlationId": "c",
        "step": "test.act",
        "ms": 0,
        "outcome": "ok",
    }
    assert second["jobId"] == "j"


async def test_a_request_is_one_line_without_anything_secret(tmp_path: Path) -> None:
    """Method, route, status, time and the first of the key: no id, no query, and nothing of a probe that went well."""
    stream, key = io.StringIO(), "a1b2c3" + "d" * 40
    with logging_to(stream, ()):
        async with running_app(settings(tmp_path, API_KEY=key), bindings=open_parts) as app:
            given = [("X-Api-Key", key)]
            await call(app, "GET", "/api/projects/an-id?cursor=hidden", given)
            await call(app, "HEAD", "/api/projects", given)
            await call(app, "POST", "/api/projects")
            await call(app, "GET", "/public/artifact/a-slug")
            await call(app, "BREW", "/a-path/of-nothing", [("X-Api-Key", "short")])
            await call(app, "GET", "/healthz")
            assert (await call(app, "GET", "/metrics", given)).status in (200, 503)
    requests = [line for line in lines(stream) if "route" in line and line["route"] != "/metrics"]
    assert [(line["method"], line["route"], line["status"], line["key"]) for line in requests] == [
        ("GET", "/api/projects/{project_id}", 400, "a1b2c3"),
        ("HEAD", "/api/projects", 200, "a1b2c3"),
        ("POST", "/api/projects", 401, None),
        ("GET", "/public/artifact/{slug}", 404, None),
        ("BREW", "-", 404, None),
    ]
    assert all(line["ms"] >= 0 and line["correlationId"] for line in requests)
    for secret in ("an-id", "hidden", "a-slug", "of-nothing", key[:8]):
        assert secret not in stream.getvalue(), secret


async def test_what_a_server_does_by_itself_is_silent_until_it_fails() -> None:
    """A sweep that goes well leaves no line; one that fails does."""

    @step("test.sweep", idle=True, retry=False)
    async def sweep(is_well: bool) -> None:
        if not is_well:
            raise Unavailable("away", code="away")

    stream = io.StringIO()
    with logging_to(stream, ()):
        await sweep(True)
        with contextlib.suppress(Unavailable):
            await sweep(False)
    assert [line["outcome"] for line in lines(stream)] == ["away"]


class Stuck(io.StringIO):
    """A sink that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait(10)
        return super().write(text)


def test_a_stuck_sink_delays_nobody() -> None:
    """When nothing is taken, lines are dropped and counted; the caller never waits."""
    stuck, log = Stuck(), logging.getLogger("picasso.test")
    with logging_to(stuck, ()):
        for _ in range(logs.BACKLOG + 500):
            log.info("line")
        stuck.released.set()
    found = lines(stuck)
    dropped = [int(line["msg"].split()[0]) for line in found if line["msg"].endswith("log lines were dropped")]
    assert sum(dropped) + len(found) - len(dropped) == logs.BACKLOG + 500
    assert sum(dropped) >= 500 - logs.BATCH_LINES


async def test_secrets_are_nowhere(tmp_path: Path) -> None:
    """Canary secrets of the environment are in no answer, log line or file of the process."""
    key = SECRETS["API_KEY"]
    async with running(tmp_path, command=SHELL, **SECRETS) as server, server.client() as client:
        said = []
        for path in (
            "/healthz",
            "/readyz",
            "/schema",
            "/metrics",
            "/api/projects",
            "/api/models",
            "/nowhere",
            "/public/x",
        ):
            for headers in ({}, {"X-Api-Key": key}, {"X-Api-Key": "wrong"}):
                for method in ("GET", "POST", "OPTIONS"):
                    answer = await client.request(method, path, headers={**headers, "Accept": "text/html"})
                    said.append(f"{answer.headers} {answer.text}")
        assert server.key == key
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert (tmp_path / "serve.log") in files
    for secret in SECRETS.values():
        assert not any(secret in text for text in said)
        assert not [path for path, data in files.items() if secret.encode() in data]
