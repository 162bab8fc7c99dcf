"""Every refusal has the same shape and reveals little; every answer has the security headers."""

import logging
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from litestar import Response, get, post
from litestar.exceptions import ClientException, HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.params import FromPath, JSONBody

from app.http.errors import ClientGone, SlowBody, response_to
from app.http.schemas import Body, Name
from app.main import Application
from tests.support.asgi_client import Answer, call, running_app
from tests.support.environment import settings
from tests.support.servers.shell import keep_note
from tools.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    LeaseLost,
    NotFound,
    PicassoError,
    RateLimited,
    Refused,
    TooLarge,
    Unavailable,
    Uncertain,
    VendorFailed,
)

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
INSIDE = "postgresql://picasso:hunter22@10.0.0.5/db /srv/secret/path.py SELECT * FROM keys Bearer sk-canary-0123456789"
SEAMS: list[Callable[[], BaseException]] = [
    lambda: ValueError(INSIDE),
    lambda: KeyError(INSIDE),
    lambda: TypeError(INSIDE),
    lambda: RuntimeError(INSIDE),
    lambda: AssertionError(INSIDE),
    lambda: AttributeError(INSIDE),
    lambda: LookupError(INSIDE),
    lambda: OSError(2, INSIDE, "/srv/secret/path.py"),
    lambda: ConnectionResetError(104, INSIDE),
    lambda: TimeoutError(INSIDE),
    lambda: MemoryError(INSIDE),
    lambda: NotImplementedError(INSIDE),
    lambda: ZeroDivisionError(INSIDE),
    lambda: UnicodeEncodeError("utf-8", INSIDE, 0, 1, INSIDE),
    lambda: ExceptionGroup(INSIDE, [ValueError(INSIDE), KeyError(INSIDE)]),
    lambda: HTTPException(status_code=500, detail=INSIDE, extra={"dsn": INSIDE}),
    lambda: HTTPException(status_code=502, detail=INSIDE, extra={"dsn": INSIDE}),
    lambda: HTTPException(status_code=503, detail=INSIDE, headers={"X-Inside": "canary"}),
    lambda: ClientException(detail=INSIDE, extra={"dsn": INSIDE}),
    lambda: NotAuthorizedException(detail=INSIDE),
    lambda: PermissionDeniedException(detail=INSIDE, extra=[INSIDE]),
    lambda: RecursionError(INSIDE),
    lambda: UnicodeDecodeError("utf-8", INSIDE.encode(), 0, 1, INSIDE),
]
"""Errors whose text must not get out."""
STATUS: list[tuple[PicassoError, int]] = [
    (NotFound("m"), 404),
    (Gone("m"), 410),
    (Invalid("m"), 422),
    (Invalid("m", status=400), 400),
    (Invalid("m", status=402, code="over_budget"), 402),
    (Forbidden("m"), 403),
    (Conflict("m"), 409),
    (TooLarge("m"), 413),
    (RateLimited("m", retry_after=1.2), 429),
    (Unavailable("m"), 503),
    (Refused("m"), 502),
    (VendorFailed("m"), 502),
    (Uncertain("m"), 502),
    (LeaseLost("m"), 409),
    (SlowBody("m"), 408),
    (ClientGone("m"), 400),
    (type("Deeper", (NotFound,), {})("m"), 404),
]


class Part(Body, frozen=True):
    name: Name


class Whole(Body, frozen=True):
    parts: list[Part]
    kind: Any = None


@get("/api/seams/{number:int}", opt={"access": "open"})
async def raise_seam(number: FromPath[int]) -> None:
    raise SEAMS[number]()


@get("/api/encoder", opt={"access": "open"})
async def answer_badly() -> Response[Any]:
    class Odd:
        def __repr__(self) -> str:
            return INSIDE

    return Response({"odd": Odd()})


@post("/api/wholes")
async def keep_whole(data: JSONBody[Whole]) -> Whole:
    return data


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    more = [raise_seam, answer_badly, keep_whole, keep_note]
    async with running_app(settings(tmp_path_factory.mktemp("answers"), API_KEY=KEY), more_handlers=more) as app:
        yield app


def check_shape(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message", "detail", "correlationId"}
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", body["error"]["code"])
    assert body["error"]["correlationId"] == answer.headers["x-correlation-id"]
    return dict(body["error"])


@pytest.mark.parametrize("number", range(len(SEAMS)), ids=lambda number: type(SEAMS[number]()).__name__)
async def test_errors_say_little(app: Application, number: int, caplog: pytest.LogCaptureFixture) -> None:
    """An unforeseen exception gives the common error shape and a log line, and none of its text is sent to the
    client."""
    for path in (f"/api/seams/{number}", "/api/encoder"):
        caplog.clear()
        answer = await call(app, "GET", path)
        error = check_shape(answer, answer.status)
        assert not re.search(r"hunter22|canary|/srv|SELECT|10\.0\.0\.5|Traceback|\.py", str(answer)), answer
        if answer.status == 500:
            (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert line.exc_info and line.__dict__["fields"]["correlationId"] == error["correlationId"]
            assert error["code"] == "internal_error"


@pytest.mark.parametrize(("error", "status"), STATUS, ids=lambda value: getattr(value, "code", value))
async def test_the_tree_has_its_statuses(error: PicassoError, status: int) -> None:
    """Each class of the error tree has its status, found along the MRO."""
    answer = response_to(error)
    assert (answer.status, answer.code, answer.message) == (status, error.code, "m")
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1


DOORS = [
    pytest.param("GET", "/nowhere", {}, b"", 404, id="no route"),
    pytest.param("GET", "/api//projects", {}, b"", 404, id="another spelling"),
    pytest.param("DELETE", "/api/projects", {}, b"", 405, id="no such method"),
    pytest.param("POST", "/api/projects", {}, b"{}", 401, id="no key"),
    pytest.param("GET", "/api/projects?limit=0", {}, b"", 400, id="limit too small"),
    pytest.param("GET", "/api/projects?limit=201", {}, b"", 400, id="limit too large"),
    pytest.param("GET", "/api/projects?limit=1.5", {}, b"", 400, id="limit a fraction"),
    pytest.param("GET", "/api/projects?limit=2.0", {}, b"", 400, id="limit a whole fraction"),
    pytest.param("GET", "/api/projects?limit=1e1", {}, b"", 400, id="limit with an exponent"),
    pytest.param("GET", "/api/projects?limit=", {}, b"", 400, id="limit empty"),
    pytest.param("GET", "/api/projects?cursor=nonsense", {}, b"", 400, id="cursor"),
    pytest.param("GET", "/api/projects/unknown", {}, b"", 404, id="no project"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b"", 400, id="no body"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b"{", 400, id="half JSON"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b"[" * 100_000, 400, id="deep"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b'{"text": "\xff"}', 400, id="not UTF-8"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b'{"text": "x", "more": 1}', 400, id="unknown field"),
    pytest.param("POST", "/api/notes", {"X-Api-Key": KEY}, b'{"text": "' + b"x" * (1 << 20) + b'"}', 413, id="large"),
    pytest.param("GET", "/" + "a" * 9000, {}, b"", 414, id="long path"),
    pytest.param("GET", "/healthz?" + "a" * 9000, {}, b"", 414, id="long query"),
    pytest.param("GET", "/healthz", {"Host": "a b"}, b"", 400, id="host"),
]


@pytest.mark.parametrize(("method", "target", "headers", "body", "status"), DOORS)
async def test_every_door_has_the_one_shape(
    app: Application, method: str, target: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """Litestar's refusals, the guard's and our own have the same shape; 405 lists what is allowed."""
    answer = await call(app, method, target, {**headers, "Content-Type": "application/json"}, body)
    check_shape(answer, status)
    assert ("allow" in answer.headers) == (status == 405)


FIELDS = [
    pytest.param(b'{"parts": [{"name": "a"}, {"name": 5}]}', "parts[1].name", id="type"),
    pytest.param(b'{"parts": [{"name": "a"}, {}]}', "parts[1].name", id="missing"),
    pytest.param(b'{"parts": [{"name": "a", "x": 1}]}', "parts[0].x", id="unknown"),
    pytest.param(b'{"parts": [{"name": "  "}]}', "parts[0].name", id="blank"),
    pytest.param(b'{"parts": [{"name": "' + b"y" * 201 + b'"}]}', "parts[0].name", id="long"),
    pytest.param(b'{"parts": [{"name": "a\\u0000b"}]}', "parts[0].name", id="NUL"),
    pytest.param(b'{"parts": [{"name": "a\\nb"}]}', "parts[0].name", id="line break"),
    pytest.param(b'{"parts": [{"name": "a\\u009bb"}]}', "parts[0].name", id="C1"),
    pytest.param(b'{"parts": {}}', "parts", id="object for list"),
    pytest.param(b'{"parts": [], "kind": {"deep": ["\\u001b"]}}', "kind.deep[0]", id="in free JSON"),
    pytest.param(b'"canary-value"', "body", id="not an object"),
    pytest.param(b"", "body", id="nothing"),
]


@pytest.mark.parametrize(("body", "field"), FIELDS)
async def test_the_field_is_named_and_its_value_is_not(app: Application, body: bytes, field: str) -> None:
    """A validation error names the field's path; nothing that was sent as a value comes back."""
    answer = await call(app, "POST", "/api/wholes", {"X-Api-Key": KEY, "Content-Type": "application/json"}, body)
    error = check_shape(answer, 400)
    assert [problem["field"] for problem in error["detail"]["errors"]] == [field]
    assert "canary" not in str(answer.body) and "yyy" not in str(answer.body) and b"'data'" not in answer.body


async def test_parameters_are_named_and_not_repeated(app: Application) -> None:
    """A wrong query parameter is named and its value is not repeated."""
    answer = await call(app, "GET", "/api/projects?limit=canary-value")
    error = check_shape(answer, 400)
    assert error["detail"]["errors"][0]["field"] == "limit"
    assert "canary" not in str(answer)


async def test_text_is_trimmed_and_normalised(app: Application) -> None:
    """Strings arrive trimmed and in NFC, keys and nested ones too; their lengths are measured after that."""
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    body = ('{"parts": [{"name": "  Cafe\u0301 "}], "kind": {" e\u0301 ": [" x "]}}').encode()
    assert (await call(app, "POST", "/api/wholes", headers, body)).json() == {
        "parts": [{"name": "Café"}],
        "kind": {"é": ["x"]},
    }


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        pytest.param("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", True, id="a browser"),
        pytest.param("application/json, text/html; q=0.5", True, id="named"),
        pytest.param("text/html;q=0", False, id="refused"),
        pytest.param("*/*", False, id="anything"),
        pytest.param("text/*", False, id="any text"),
        pytest.param("", False, id="nothing"),
    ],
)
async def test_a_page_is_shown_where_a_page_is_asked_for(app: Application, accept: str, html: bool) -> None:
    """Only below /public, and only where Accept names text/html, an error is a page; it can do nothing."""
    answer = await call(app, "GET", "/public/artifact/none/at/all", {"Accept": accept})
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")
    if html:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and policy.endswith("sandbox")
        assert b"<script" not in answer.body and answer.headers["x-correlation-id"].encode() in answer.body
    assert (await call(app, "GET", "/api/none", {"Accept": accept})).json()["error"]["code"] == "not_found"


async def test_every_answer_carries_its_headers(tmp_path: Path) -> None:
    """Errors and successes alike are not cached, not sniffed, not framed, and have an id of their own."""
    async with running_app(settings(tmp_path, API_KEY=KEY, PUBLIC_URL="https://picasso.example")) as app:
        ids = set()
        for method, target in (("GET", "/healthz"), ("GET", "/api/projects"), ("GET", "/x"), ("POST", "/api/projects")):
            given = {"X-Correlation-Id": "mine", "X-Api-Key": KEY}
            answer = await call(app, method, target, given)
            assert answer.headers["cache-control"] == "private, no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            ids.add(answer.headers["x-correlation-id"])
        assert len(ids) == 4 and "mine" not in ids


async def test_origins_are_exact(tmp_path: Path) -> None:
    """Only an origin in CORS_ORIGINS is let in by CORS, to the letter, on errors too; credentials never are."""
    own = "https://app.example"
    async with running_app(settings(tmp_path, API_KEY=KEY, CORS_ORIGINS=f"{own},http://localhost:5173")) as app:
        for origin in (own, "http://localhost:5173"):
            for target in ("/api/projects", "/nowhere", "/api//x"):
                answer = await call(app, "GET", target, {"Origin": origin})
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["vary"] == "Origin"
                assert "access-control-allow-credentials" not in answer.headers
        asked = {"Origin": own, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        preflight = await call(app, "OPTIONS", "/api/projects", asked)
        assert "retry-after" in preflight.headers["access-control-expose-headers"].lower()
        assert preflight.status == 204 and "POST" in preflight.headers["access-control-allow-methods"]
        for origin in ("null", "https://app.example.evil", "https://evil.app.example", "http://app.example", f"{own}/"):
            answer = await call(app, "GET", "/healthz", {"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers, origin
            refused = await call(app, "OPTIONS", "/api/projects", {**asked, "Origin": origin})
            assert refused.status == 403 and "CORS_ORIGINS" in refused.json()["error"]["message"]
