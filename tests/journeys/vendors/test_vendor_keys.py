"""A provider's settings are named by its adapter alone, also where the adapter is a plugin."""

from pathlib import Path

from tests.support.api_calls import TOY_KEY, body, calling, ended, environ, new_project, submit
from tests.support.internet import Wire
from tests.support.servers.picasso import running


async def test_a_guests_key_is_asked_for_by_name(tmp_path: Path) -> None:
    """Without the key `GET /api/providers` lists it as missing, and a job is a 422 that names it."""
    async with Wire() as wire, running(tmp_path, **environ(wire, TOY_KEY="")) as server, calling(server) as client:
        toy = next(p for p in (await client.get("/api/providers")).json()["items"] if p["id"] == "toy")
        assert (toy["configured"], toy["needs"], toy["missing"]) == (False, ["TOY_KEY", "TOY_URL"], ["TOY_KEY"])
        project = await new_project(client)
        refused = await client.post(f"/api/projects/{project}/jobs", json=body(providers=["toy"]))
    assert refused.status_code == 422
    assert refused.json()["error"]["message"] == "the provider 'toy' is not configured: set TOY_KEY"


async def test_a_guests_key_reaches_its_vendor_and_no_log(tmp_path: Path) -> None:
    """The key is sent to the vendor, and does not get into the log even when the adapter puts it into an error."""
    async with Wire() as wire, running(tmp_path, **environ(wire)) as server, calling(server) as client:
        project = await new_project(client)
        for prompt, status in (("a boat", "complete"), ("break", "failed")):
            job = await submit(client, project, providers=["toy"], prompt=prompt)
            assert (await ended(client, job["jobId"]))["status"] == status
        [call] = wire.calls
        log = server.log.read_text()
    assert call.headers["authorization"] == f"Bearer {TOY_KEY}"
    assert "which tells its key" in log and TOY_KEY not in log


async def test_a_guests_key_of_the_preview_is_its_own(tmp_path: Path) -> None:
    """`PREVIEW_` overlays a plugin's variables as it does all others, and both values are redacted."""
    settings = environ(None, PICASSO_ENV="preview")
    async with Wire() as wire:
        toy = environ(wire, PREVIEW_TOY_KEY="the-key-of-the-preview")
        async with running(tmp_path, **{**toy, **settings}) as server, calling(server) as client:
            project = await new_project(client)
            for prompt in ("a boat", "break"):
                await ended(client, (await submit(client, project, providers=["toy"], prompt=prompt))["jobId"])
            log = server.log.read_text()
    assert [call.headers["authorization"] for call in wire.calls] == ["Bearer the-key-of-the-preview"]
    assert "the-key-of-the-preview" not in log and TOY_KEY not in log
