"""The whole server on the storage of production: originals on S3, delivery images at Cloudflare."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.deadlines import LONG
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import Server, listening, running, start
from tests.support.servers.s3 import KEYS, S3Server, new_bucket
from tests.support.vendors.cloudflare_images import ACCOUNT, HASH, TOKEN, vendor


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    vendor.reset()
    async with Wire() as wire:
        yield wire


async def progressions(client: httpx.AsyncClient, project: str) -> list[dict[str, Any]]:
    return list((await client.get(f"/api/projects/{project}/progressions")).json()["items"])


async def lookbook(client: httpx.AsyncClient, project: str) -> str:
    """The path of a new lookbook."""
    made = await client.post(f"/api/projects/{project}/artifacts/lookbook", json={})
    assert made.status_code == 201, made.text
    return f"/public/lookbook/{made.json()['public_slug']}"


async def status_of(client: httpx.AsyncClient, expected: int) -> dict[str, Any]:
    """The components that /readyz reports, once it has that status."""
    async with asyncio.timeout(LONG):
        while (answer := await client.get("/readyz")).status_code != expected:
            await asyncio.sleep(0.05)
    return dict(answer.json())


async def told(server: Server, begin: str, **fields: str) -> None:
    """Wait for the log line."""
    async with asyncio.timeout(LONG):
        while not any(line["msg"].startswith(begin) and fields.items() <= line.items() for line in server.lines()):
            await asyncio.sleep(0.05)


def assert_sane(server: Server) -> None:
    assert history_checks.violations(history_checks.read(server.home / "picasso.db")) == []


async def test_a_job_lives_on_s3(tmp_path: Path, own_rclone: S3Server, wire: Wire) -> None:
    """Originals are in the bucket byte for byte and pages are read from it; while the bucket's server is down,
    purchases wait to be stored, and nothing is bought again."""
    bucket = new_bucket(own_rclone)
    chosen = environ(wire, BUCKET=own_rclone.address(bucket), **KEYS)
    async with running(tmp_path, **chosen) as server, calling(server) as client:
        project = await new_project(client)
        job = await ended(client, (await submit(client, project, providers=["sketch", "toy"], variants=2))["jobId"])
        assert job["status"] == "complete"
        rows = await progressions(client, project)
        for row in rows:
            stored = (own_rclone.folder / bucket / row["original_image_r2_key"]).read_bytes()
            assert hashlib.sha256(stored).hexdigest() == row["sha256"]
        bought = {call.sent for call in wire.of("toy")}
        assert bought == {
            (own_rclone.folder / bucket / row["original_image_r2_key"]).read_bytes()
            for row in rows
            if row["ai_provider"] == "toy"
        }
        page = await lookbook(client, project)
        assert (await client.get(page)).status_code == 200

        wire.delay, calls = 0.5, len(wire.of("toy"))
        accepted = await submit(client, project, providers=["toy"], variants=2)
        await wire.received(calls + 2, "toy")
        own_rclone.kill()
        assert (await status_of(client, 503))["bindings"]["BUCKET"]["ok"] is False
        assert (await client.get(page)).status_code == 503
        await told(server, "r2.put_original", outcome="bucket_unavailable")
        own_rclone.start()
        await status_of(client, 200)
        assert (await ended(client, accepted["jobId"]))["status"] == "complete"
        assert len(wire.of("toy")) == calls + 2
        assert (await client.get(page)).status_code == 200
        assert_sane(server)
    assert not (tmp_path / "bucket").exists()


@pytest.mark.soak
async def test_two_servers_share_a_bucket(
    tmp_path: Path, rclone: S3Server, postgres_url: str, redis_url: str, wire: Wire
) -> None:
    """A page that one server made can be read from the other."""
    chosen = environ(
        wire,
        DB=postgres_url,
        REDIS_URL=redis_url,
        API_KEY="k" * 40,
        BUCKET=rclone.address(new_bucket(rclone)),
        IMAGES=f"cloudflare://{ACCOUNT}/{HASH}",
        CLOUDFLARE_API_TOKEN=TOKEN,
        CLOUDFLARE_BASE_URL=f"{wire.url}/cloudflare/client/v4",
        **KEYS,
    )
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(tmp_path / name, **chosen)) for name in "ab"]
        one, two = [await stack.enter_async_context(calling(server)) for server in servers]
        project = await new_project(one)
        assert (await ended(two, (await submit(one, project))["jobId"]))["status"] == "complete"
        page = await lookbook(one, project)
        assert (await two.get(page)).content == (await one.get(page)).content
    assert not (tmp_path / "a" / "bucket").exists() and not (tmp_path / "a" / "images").exists()


async def test_a_bucket_that_refuses_us_is_waited_for(tmp_path: Path, rclone: S3Server) -> None:
    """With a wrong key, or a bucket that does not exist yet, the server is alive and not ready, logs one line with the
    reason, and does not crash."""
    bucket = new_bucket(rclone)
    (rclone.folder / bucket).rmdir()
    right = environ(BUCKET=rclone.address(bucket), **KEYS)
    async with listening(tmp_path, **right) as server, calling(server) as client:
        assert (await status_of(client, 503))["status"] == "starting"
        await told(server, "not ready: the bucket does not exist;")
        (rclone.folder / bucket).mkdir()
        await status_of(client, 200)
    wrong = environ(BUCKET=rclone.address(bucket), **{**KEYS, "AWS_SECRET_ACCESS_KEY": "this-secret-was-rotated-away"})
    async with listening(tmp_path, **wrong) as server:
        await told(server, "not ready: the bucket does not accept our key;")
        assert "rotated-away" not in server.log.read_text()


async def test_a_start_without_keys_is_refused(tmp_path: Path) -> None:
    """Without keys the start ends with exit code 78 and one line that names the settings."""
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path)}
    process = await start(tmp_path, **environ(BUCKET="s3://bucket?endpoint=http://127.0.0.1:9", **nowhere))
    assert await asyncio.wait_for(process.wait(), LONG) == 78
    last = (tmp_path / "serve.log").read_text().splitlines()[-1]
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set" in last


async def test_delivery_images_go_to_cloudflare(tmp_path: Path, wire: Wire) -> None:
    """The row has the address that Cloudflare returned; failed uploads are repeated without another purchase; pages may
    show these images, and our own delivery route is closed."""
    chosen = environ(
        wire,
        IMAGES=f"cloudflare://{ACCOUNT}/{HASH}",
        CLOUDFLARE_API_TOKEN=TOKEN,
        CLOUDFLARE_BASE_URL=f"{wire.url}/cloudflare/client/v4",
    )
    async with running(tmp_path, **chosen) as server, calling(server) as client:
        project = await new_project(client)
        job = await ended(client, (await submit(client, project))["jobId"])
        assert job["status"] == "complete"
        for bought, failures in enumerate((2, 5), start=1):
            wire.scripts["images"].extend([Answer("error"), Answer("drop_after"), *[Answer("error")] * (failures - 2)])
            paid = await ended(client, (await submit(client, project, providers=["toy"]))["jobId"])
            assert paid["status"] == "complete" and not wire.scripts["images"]
            assert len(wire.of("toy")) == bought
            assert [attempt["state"] for attempt in paid["items"][0]["attempts"]] == ["succeeded"]
        rows = await progressions(client, project)
        assert len(rows) == 3
        for row in rows:
            assert row["generated_image_url"] == f"https://imagedelivery.net/{HASH}/{row['id']}/public"
            assert Image.open(io.BytesIO(vendor.stored[row["id"]])).format == "WEBP"
            assert (await client.get(f"/images/{row['id']}/public")).status_code == 302
        page = await client.get(await lookbook(client, project))
        assert "img-src 'self' https://imagedelivery.net;" in page.headers["content-security-policy"]
        assert all(f'src="{row["generated_image_url"]}"' in page.text for row in rows)
        assert_sane(server)
    assert TOKEN not in server.log.read_text()


async def test_a_revoked_token_costs_time_and_no_image(tmp_path: Path, wire: Wire) -> None:
    """While Cloudflare refuses our token, jobs wait and the server is ready; a start with the right token completes
    them."""
    chosen = environ(
        wire, IMAGES=f"cloudflare://{ACCOUNT}/{HASH}", CLOUDFLARE_BASE_URL=f"{wire.url}/cloudflare/client/v4"
    )
    async with running(tmp_path, **chosen, CLOUDFLARE_API_TOKEN="revoked") as server, calling(server) as client:
        project = await new_project(client)
        job = (await submit(client, project, providers=["toy"]))["jobId"]
        await wire.received(1, "images")
        await told(server, "IMAGES: Cloudflare Images does not accept our token")
        assert (await client.get("/readyz")).status_code == 200
    async with running(tmp_path, **chosen, CLOUDFLARE_API_TOKEN=TOKEN) as server, calling(server) as client:
        assert (await ended(client, job))["status"] == "complete"
        assert len(wire.of("toy")) == 1 and len(vendor.stored) == 1
        assert_sane(server)
