"""Whoever sends a wrong field or parameter is told the rule, not where it stands."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.http.openapi import describe
from app.http.rules import WORDS
from app.http.schemas import NewProject, NewTip, ProjectPatch, Rollback, converted
from app.main import Application, create_app
from app.routes.artifacts.boards import NewApproval, NewComment
from app.routes.jobs import SubmitJob
from tests.support.asgi_client import call, running_app
from tests.support.environment import settings
from tools.errors import Invalid

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
JOB = {"prompt": "p", "providers": ["sketch"], "sessionId": "s"}
WRONG: list[tuple[Any, Any, str, str]] = [
    (SubmitJob, {**JOB, "sessionId": "a b"}, "sessionId",
     "Expected text of letters, digits and . _ : -, of 1 to 128 characters"),
    (SubmitJob, {**JOB, "size": "big"}, "size",
     "Expected text as 1024x1024: width and height of 2 to 4 digits or null"),
    (SubmitJob, {**JOB, "kind": "paint"}, "kind",
     "Expected one of: edit, generate, inpaint, outpaint, upscale, variation or null"),
    (SubmitJob, {**JOB, "prompt": " "}, "prompt",
     "Expected text that is not blank, without control characters, of 1 to 8,000 characters"),
    (SubmitJob, {**JOB, "startImageUrl": "ftp://x"}, "startImageUrl",
     "Expected text that is https://…, http://…, upload:SHA256, progression:ID, or the address of an image here as "
     "/images/…, of at most 2,048 characters or null"),
    (SubmitJob, {**JOB, "referenceImageUrls": ["https://a.example/b", "x"]}, "referenceImageUrls[1]",
     "Expected text that is https://…, http://…, upload:SHA256, progression:ID, or the address of an image here as "
     "/images/…, of at most 2,048 characters"),
    (SubmitJob, {**JOB, "providers": [{"provider": "a\nb"}]}, "providers[0].provider",
     "Expected text in one line that is not blank, without control characters, of 1 to 64 characters"),
    (SubmitJob, {**JOB, "variants": 9}, "variants", "Expected `int` <= 8"),
    (SubmitJob, {**JOB, "variants": "2"}, "variants", "Expected `int`, got `str`"),
    (SubmitJob, {"prompt": "p"}, "providers", "Object missing required field `providers`"),
    (NewProject, {"name": "a", "titel": "b"}, "titel",
     "Object contains unknown field `titel`; there are: name, description"),
    (ProjectPatch, {"name": "a\nb"}, "name",
     "Expected text in one line that is not blank, without control characters, of 1 to 200 characters"),
    (Rollback | None, {"base": "first"}, "base", "Expected one of: original, start"),
    (NewTip, {"tip": "t", "kinds": ["edit", "draw - at `$.x`"]}, "kinds[1]",
     "Expected one of: edit, generate, inpaint, outpaint, upscale, variation"),
    (NewApproval, {"progressionId": "a", "verdict": "maybe"}, "verdict", "Expected one of: approve, reject or null"),
    (NewComment, {"progressionId": "a/b", "text": "t"}, "progressionId",
     "Expected text of letters, digits and . _ : -, of 1 to 64 characters"),
]  # fmt: skip


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    async with running_app(settings(tmp_path_factory.mktemp("rules"), API_KEY=KEY)) as app:
        yield app


@pytest.mark.parametrize(("wanted", "body", "field", "problem"), WRONG)
def test_a_wrong_field_is_told_its_rule(wanted: Any, body: Any, field: str, problem: str) -> None:
    """The field's path and what it must be; the value that was sent is not repeated."""
    with pytest.raises(Invalid) as refused:
        converted(body, wanted)
    assert refused.value.detail == {"errors": [{"field": field, "problem": problem}]}


@pytest.mark.parametrize(
    ("target", "field", "problem"),
    [
        ("/api/projects/p/progressions?judgment=maybe", "judgment", "Expected one of: fail, pass or null"),
        ("/api/projects/p/progressions?judgment=null", "judgment", "Expected one of: fail, pass or null"),
        ("/api/projects/p/progressions?query=%1b", "query",
         "Expected text without control characters, of at most 1,000 characters"),
        ("/api/sessions/a%20b/events", "session_id", "Expected text of 1 to 128 letters, digits and . _ : -"),
        ("/images/a/huge", "variant", "Expected text that is public, preview, thumb or as w=640,h=480,fit=cover"),
        ("/api/projects?limit=201", "limit", "Expected `int` <= 200"),
        ("/api/projects?page=2", "page", "Unknown query parameter; there are: cursor, limit, query"),
        ("/api/jobs/j?x=1", "x", "Unknown query parameter; there are none here"),
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_told_its_rule(app: Application, target: str, field: str, problem: str) -> None:
    """Also in paths and queries."""
    answer = await call(app, "GET", target)
    assert answer.status == 400
    assert answer.json()["error"]["detail"] == {"errors": [{"field": field, "problem": problem}]}


async def test_every_route_refuses_unknown_query_parameters(app: Application) -> None:
    """400 on reads and writes alike; only a browser that opens a page may bring what others added to its link."""
    for path, operations in describe(app)["paths"].items():
        for method in operations:
            target = f"{path.replace('{version}', '1').replace('{', '').replace('}', '')}?utm_source=mail"
            answer = await call(app, method.upper(), target, {"X-Api-Key": KEY, "Content-Type": "application/json"})
            assert answer.status == 400, (method, path)
            if method != "head":
                assert answer.json()["error"]["detail"]["errors"][0]["field"] == "utm_source", (method, path)
    for path, status in (("/schema", 200), ("/public/artifact/none", 404), ("/api/projects", 400)):
        assert (await call(app, "GET", f"{path}?utm_source=mail", {"Accept": "text/html"})).status == status, path


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


def test_every_pattern_has_words(tmp_path: Path) -> None:
    """No message shows a regex: each pattern of a request stands in WORDS. (That of one tag is only documented.)"""
    found = set(patterns(describe(create_app(settings(tmp_path, API_KEY=KEY), jobs=False))))
    assert len(found) > 10
    assert {pattern for pattern in found - WORDS.keys() if not pattern.startswith("^[^\\[")} == set()
