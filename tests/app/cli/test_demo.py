"""`picasso demo`, from nothing to links that answer."""

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from app.cli.client import ClientError
from app.cli.demo import check_room, is_whole
from app.cli.progress import Bar, Board
from tests.app.cli.test_commands import picasso
from tests.support.deadlines import LONG
from tests.support.servers.picasso import running
from tools.rows import ItemStatus, JobStatus


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def is_listening(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


@pytest.mark.parametrize(
    ("status", "items", "images", "lookbook", "whole"),
    [
        ("complete", ["complete", "duplicate"], [200], 200, True),
        ("complete", ["complete", "failed"], [200], 200, False),
        ("complete", ["complete", "complete"], [200, 404], 200, False),
        ("complete", ["complete"], [200], 503, False),
        ("complete", ["duplicate"], [], 200, False),
        ("cancelled", ["complete"], [200], 200, False),
    ],
    ids=["whole", "an item failed", "an image is gone", "no lookbook", "no image", "cancelled"],
)
def test_the_demo_succeeds_only_if_all_is_true(
    status: JobStatus, items: list[ItemStatus], images: list[int], lookbook: int, whole: bool
) -> None:
    """Exit code 0 is a proof: one link that does not answer, and the demo has failed."""
    bars = tuple(Bar(item_id=str(n), provider="sketch", variant_index=n, status=one) for n, one in enumerate(items))
    assert is_whole(Board(job_id="j", bars=bars, status=status), images, lookbook) is whole


def test_a_small_disk_is_told_before_anything_begins(tmp_path: Path) -> None:
    """One sentence with the place, what is free there and what it takes, also where the folder is not there yet."""
    check_room(tmp_path / "not yet")
    with pytest.raises(ClientError, match=f"{tmp_path}/not yet has [0-9]+ MB free, and the demo needs [0-9]+$"):
        check_room(tmp_path / "not yet", 1 << 62)


async def test_the_demo_leaves_links_that_a_later_server_shows(tmp_path: Path) -> None:
    """Every image and the lookbook answered 200; the server is gone; `serve` on the same port shows them again."""
    port = free_port()
    code, out, err = await picasso(tmp_path, "demo", "--json", PORT=port)
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert (made["ok"], made["status"], made["lookbookAnswer"]) == (True, "complete", 200)
    assert made["imageAnswers"] == [200] * len(made["imageAnswers"]) and len(made["items"]) == 4
    assert made["server"] == f"http://127.0.0.1:{port}" and not is_listening(made["server"])
    async with running(tmp_path, PORT=port) as server, server.client() as visitor:
        links = [
            made["lookbookUrl"],
            *(item["generatedImageUrl"] for item in made["items"] if item["generatedImageUrl"]),
        ]
        assert [(await visitor.get(link)).status_code for link in links] == [200] * len(links)


async def test_the_demo_and_a_server_that_owns_the_data(tmp_path: Path) -> None:
    """A running server is used instead of fought over; one that listens elsewhere is a line and exit code 78."""
    async with running(tmp_path) as server:
        code, out, _ = await picasso(tmp_path, "demo", PORT=str(server.port))
        assert code == 0 and f"yours, at {server.url}, is still running" in out
        code, out, err = await picasso(tmp_path, "demo", "--json", PORT=free_port())
        assert (code, out) == (78, "")
        assert err.startswith("picasso: DB ") and f"process {server.process.pid};" in err and err.count("\n") == 1
        async with server.client() as visitor:
            assert (await visitor.get("/readyz")).status_code == 200


async def test_keep_leaves_a_server_up_beside_a_taken_port(tmp_path: Path) -> None:
    """When another program has the wanted port, the demo uses another number; its last lines state how to stop it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, _ = await picasso(tmp_path, "demo", "--keep", PORT=str(taken.getsockname()[1]))
    assert code == 0
    pid = int(out.partition("`kill ")[2].partition("`")[0])
    try:
        address = out.partition("still running at ")[2].partition(";")[0]
        assert httpx.get(f"{address}/readyz", trust_env=False, timeout=LONG).status_code == 200
    finally:
        os.kill(pid, signal.SIGTERM)
