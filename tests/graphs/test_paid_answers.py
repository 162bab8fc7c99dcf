"""Whatever form a vendor answers in, what was paid for is kept and counted once."""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from app.bindings.ai.registry import open_ai
from graphs.image_job.purchase import buy
from tests.support.answer_forms import JUNK, Form, candidate, events, forms, plain
from tests.support.environment import bare_env, settings
from tests.support.internet import Answer, Received, Reply, Vendor, Wire, picture
from tests.support.samples.job_states import PROJECT, IdleServices
from tools.env import Env
from tools.ledger import attempts, items, jobs, leases, progress, submissions
from tools.ledger.leases import Lease
from tools.ledger.submissions import ItemPlan, Submission
from tools.rows import Attempt, Item, JobRequest

VENDORS = {
    "openai": ("/openai/v1", "gpt-image-2"),
    "gemini": ("/gemini", None),
    "workers": ("/cloudflare/client/v4", None),
}
BY_SOCKET = 20
"""Forms of each vendor that are bought over a socket; all of them with `--rounds 100`."""


@dataclasses.dataclass
class Says:
    """A vendor that gives these answers in turn, and images at addresses of its own."""

    name: str
    prefix: str
    replies: list[Reply] = dataclasses.field(default_factory=list)
    images: dict[str, Reply] = dataclasses.field(default_factory=dict)

    def reply(self, call: Received, answer: Answer) -> Reply:
        return self.images[call.path] if call.method == "GET" else self.replies.pop(0)


@dataclasses.dataclass
class Shop:
    """A claimed job with items of one vendor, whose answers the test decides."""

    env: Env
    lease: Lease
    vendor: Says
    wire: Wire
    _left: list[Item]

    async def bought(self, reply: Reply) -> tuple[Item, Attempt, bytes | None]:
        """An item that was answered so: how it stands, its only attempt, and the bytes that are kept for it."""
        self.vendor.replies.append(reply)
        item, before = self._left.pop(), len(self.wire.calls)
        await buy(self.env, self.lease, await jobs.get(self.env, self.lease.id), item.id)
        asked = [call for call in self.wire.calls[before:] if call.method == "POST"]
        item, [attempt] = await items.get(self.env, item.id), await attempts.of_item(self.env, item.id)
        assert len(asked) == 1 and attempt.settled_at is not None
        return item, attempt, await self.env.BUCKET.get(item.original_r2_key) if item.original_r2_key else None


@contextlib.asynccontextmanager
async def shop(home: Path, provider: str, count: int) -> AsyncIterator[Shop]:
    from adapters.discovery import providers

    prefix, idle = VENDORS[provider][0], IdleServices()
    vendor = Says(provider, prefix)
    played: dict[str, Vendor] = {provider: vendor}
    async with Wire(_vendors=played) as wire:
        chosen = settings(
            home,
            OPENAI_API_KEY="k",
            OPENAI_BASE_URL=f"{wire.url}/openai/v1",
            GEMINI_API_KEY="k",
            GOOGLE_GEMINI_BASE_URL=f"{wire.url}/gemini",
            CLOUDFLARE_ACCOUNT_ID="a",
            CLOUDFLARE_API_TOKEN="t",
            CLOUDFLARE_BASE_URL=f"{wire.url}/cloudflare/client/v4",
        )
        bindings: dict[str, Any] = {"PICASSO_DO": idle, "PICASSO_WORKFLOW": idle, "PICASSO_QUEUE": idle}
        async with open_ai(chosen) as ai, bare_env(home, settings=chosen, AI=ai, **bindings) as env:
            await env.DB.run(PROJECT)
            model = providers(env)[provider].capabilities()[0].model
            request = JobRequest(prompt="a fox", providers=[{"provider": provider}], session_id="s", variants=count)
            places = [ItemPlan(provider, model, n, None) for n in range(count)]
            job, _ = await submissions.submit(env, Submission(project_id="p", request=request, items=places))
            claimed = await leases.claim(env, jobs.TABLE, id=job.id)
            assert claimed is not None
            lease, rows = Lease(job.id, claimed.fence), await jobs.items(env, job.id)
            await progress.start(env, lease, rows, "refine")
            yield Shop(env, lease, vendor, wire, rows)


def some(provider: str, count: int) -> Iterable[Form]:
    return itertools.islice((form for form in forms(seed=2) if form.vendor == provider), count)


@pytest.mark.parametrize("provider", VENDORS)
async def test_an_image_in_any_form_is_kept_and_paid_once(tmp_path: Path, provider: str, rounds: int) -> None:
    """Every answer that holds an image ends with its bytes in BUCKET and one settled attempt, over a real socket."""
    wanted = list(some(provider, BY_SOCKET * rounds))
    async with shop(tmp_path, provider, len(wanted)) as work:
        for form in wanted:
            item, attempt, kept = await work.bought(Reply(form.body, mime=form.mime))
            assert (kept, attempt.state, attempt.billed) == (form.image, "succeeded", 1), form.name
            assert item.original_r2_key and item.error is None
    assert len(wanted) >= BY_SOCKET


EMPTY_ANSWERS = {
    "openai": [
        json.dumps({"created": 1, "data": [], "usage": {"output_tokens": 7}}).encode(),
        json.dumps({"error": {"code": "server_error", "message": "see https://vendor.example/help"}}).encode(),
        events(json.dumps({"type": "image_generation.completed", "b64_json": None}), "[DONE]"),
        b"<html>a page</html>",
        b"{",
        b"[]",
    ],
    "gemini": [
        json.dumps(candidate({"text": "I cannot draw that."})).encode(),
        json.dumps({"candidates": [], "usageMetadata": {"promptTokenCount": 7}}).encode(),
        b"<html>a page</html>",
    ],
    "workers": [
        json.dumps({"result": {}, "success": True}).encode(),
        json.dumps({"result": {"preview": plain(picture(1))}, "errors": []}).encode(),
        JUNK,
    ],
}


@pytest.mark.parametrize("provider", VENDORS)
async def test_an_answer_without_an_image_is_kept_and_named(tmp_path: Path, provider: str) -> None:
    """It was charged for, so all of it is in BUCKET as the item's original, and the error says where."""
    wanted = EMPTY_ANSWERS[provider]
    async with shop(tmp_path, provider, len(wanted) + 1) as work:
        for body in wanted:
            item, attempt, kept = await work.bought(Reply(body, mime="text/plain"))
            assert item.error is not None
            assert (kept, item.status) == (body, "failed"), body
            assert item.error.code in ("provider_empty", "provider_invalid")
            assert f"GET /api/jobs/{item.job_id}/items/{item.id}/original" in item.error.message
            assert (attempt.state, attempt.billed, bool(attempt.cost_micros)) == ("failed", 1, True)
        cut = Reply(chunks=[(0.0, b'{"result": {"image": "iVBORw0KGgo')], headers={"content-length": "999"})
        item, attempt, kept = await work.bought(cut)
        assert (kept, attempt.state, attempt.billed) == (cut.chunks[0][1], "uncertain", 1)


JUNK_ANSWERS = {
    "openai": [
        (json.dumps({"data": [{"b64_json": plain(JUNK)}]}).encode(), JUNK),
        (events(json.dumps({"type": "image_generation.completed", "b64_json": plain(JUNK)})), JUNK),
        (json.dumps({"data": [{"b64_json": "not base64 at all!"}]}).encode(), b"not base64 at all!"),
    ],
    "gemini": [
        (json.dumps(candidate({"inlineData": {"data": plain(JUNK)}})).encode(), JUNK),
        (json.dumps(candidate({"inlineData": {"data": "%%%"}})).encode(), b"%%%"),
    ],
    "workers": [
        (json.dumps({"result": {"image": plain(JUNK)}}).encode(), JUNK),
        (b"\x01" + JUNK, b"\x01" + JUNK),
        (picture(1)[:200], picture(1)[:200]),
    ],
}


@pytest.mark.parametrize("provider", VENDORS)
async def test_what_cannot_be_shown_is_kept_and_named(tmp_path: Path, provider: str) -> None:
    """Bytes that are no image end the item with an error that says where they are; they are paid, and not bought
    again."""
    wanted = JUNK_ANSWERS[provider]
    async with shop(tmp_path, provider, len(wanted)) as work:
        for body, left in wanted:
            item, attempt, kept = await work.bought(Reply(body))
            assert item.error is not None
            assert (kept, item.status, item.error.code) == (left, "failed", "image_rejected"), body
            assert f"GET /api/jobs/{item.job_id}/items/{item.id}/original" in item.error.message
            assert (attempt.state, attempt.billed, attempt.failure) == ("failed", 1, "invalid")


ADDRESSED: dict[str, Callable[[str], Any]] = {
    "openai": lambda url: {"data": [{"url": url, "revised_prompt": "a fox"}]},
    "gemini": lambda url: candidate({"fileData": {"mimeType": "image/png", "fileUri": url}}),
    "workers": lambda url: {"result": {"image": url}, "success": True},
}


@pytest.mark.parametrize("provider", VENDORS)
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_image_at_an_address_is_fetched_at_once(tmp_path: Path, provider: str, streamed: bool) -> None:
    """An address of the vendor's own is fetched, also a relative one; where that fails, the answer with it is kept."""
    async with shop(tmp_path, provider, 3) as work:
        path = f"{work.vendor.prefix}/made/1.png"
        work.vendor.images = {"/made/1.png": Reply(picture(5), mime="text/plain"), "/made/2.png": Reply(status=404)}
        for url in (f"{work.wire.url}{path}", path):
            body = json.dumps(ADDRESSED[provider](url))
            item, attempt, kept = await work.bought(Reply(events(body) if streamed else body.encode()))
            assert (kept, attempt.state, item.error) == (picture(5), "succeeded", None), url
        body = json.dumps(ADDRESSED[provider](f"{work.wire.url}{work.vendor.prefix}/made/2.png"))
        item, attempt, kept = await work.bought(Reply(events(body) if streamed else body.encode()))
        assert item.error is not None and (item.error.code, attempt.billed) == ("provider_empty", 1)
        assert kept is not None and b"/made/2.png" in kept


WORDS: dict[str, Callable[[str], Any]] = {
    "openai": lambda words: {"choices": [{"message": {"content": words}}]},
    "gemini": lambda words: candidate({"text": words}),
    "workers": lambda words: {"result": {"response": words}, "success": True},
}


@pytest.mark.parametrize("provider", VENDORS)
async def test_an_address_within_words_is_fetched(tmp_path: Path, provider: str) -> None:
    """Of several addresses the one that gives an image is taken; a refusal is none, whatever address it names."""
    async with shop(tmp_path, provider, 5) as work:
        path = work.vendor.prefix
        work.vendor.images = {
            "/made/1.png": Reply(picture(5)),
            "/made/1.json": Reply(json.dumps({"made": plain(picture(5))}).encode()),
            "/help": Reply(b"<html>help</html>", mime="text/html"),
        }
        url = f"{work.wire.url}{path}"
        for words in (
            f"Here it is: ![a fox]({url}/made/1.png). Enjoy!",
            f"See {url}/help for help. Your image: <img src='{path}/made/1.png'>",
            f"Read {url}/help, then download it from {url}/made/1.png.",
            f"It is in {url}/made/1.json",
        ):
            item, _, kept = await work.bought(Reply(json.dumps(WORDS[provider](words)).encode()))
            assert (kept, item.error) == (picture(5), None), words
        body = json.dumps(WORDS[provider](f"I cannot draw that, see {url}/help")).encode()
        item, attempt, kept = await work.bought(Reply(body))
        assert (kept, attempt.state, attempt.failure, attempt.billed) == (body, "failed", "empty", 1)


async def test_an_address_in_our_own_network_is_not_fetched(tmp_path: Path) -> None:
    """A vendor cannot make us read other servers that only we reach: its answer is kept instead."""
    async with Wire() as private, shop(tmp_path, "openai", 1) as work:
        body = json.dumps({"data": [{"url": f"{private.url}/toy/secret.png"}]}).encode()
        item, _, kept = await work.bought(Reply(body))
    assert item.error is not None and (item.error.code, kept, private.calls) == ("provider_empty", body, [])


async def test_a_connection_that_breaks_behind_the_image_costs_nothing(tmp_path: Path) -> None:
    """An image that is whole is taken, whatever becomes of its connection, and of what should stand behind it."""
    made = plain(picture(3))
    for provider, document in (
        ("openai", {"data": [{"b64_json": made}]}),
        ("gemini", candidate({"inlineData": {"mimeType": "image/png", "data": made}})),
        ("workers", {"result": {"image": made}}),
    ):
        body = json.dumps(document).encode()
        behind = body.index(made.encode()) + len(made)
        async with shop(tmp_path / provider, provider, 4) as work:
            for end in (len(body), behind + 2, behind):
                reply = Reply(chunks=[(0.0, body[:end])], headers={"content-length": str(len(body) + 9)})
                item, attempt, kept = await work.bought(reply)
                assert (kept, attempt.state, item.error) == (picture(3), "succeeded", None), (provider, end)
            reply = Reply(body[:behind], headers={"content-encoding": "gzip"}, status=201)
            item, attempt, kept = await work.bought(reply)
            assert (kept, attempt.state, item.error) == (picture(3), "succeeded", None), provider
