import asyncio
import contextlib
import logging
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from tests.support.environment import bare_env
from tests.support.samples.page_site import Line, add_project
from tools.env import Env, Message
from tools.errors import Invalid, Unavailable, Uncertain
from tools.publishing import artifacts, views
from tools.rows import ArtifactRow, ArtifactView, Count

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
RESULT = "INSERT INTO workflow_results (id, user_id, task, result, created_at) VALUES ('r', 'ada', 'x', 'y', 1)"
WORKFLOW = f"""
INSERT INTO workflows (id, user_id, task, status, steps_done, result_id, body_sha256, correlation_id, created_at,
                       started_at)
VALUES ('wf-1', 'ada', 'x', 'running', 3, 'r', '{"a" * 64}', 'c', 1, 1)
"""


async def made(env: Env) -> ArtifactRow:
    await add_project(env, "p")
    artifact = artifacts.draft(generator_id="lookbook", title="Autumn", owner_id="default", options={})
    await artifacts.create(env, artifact, ["p"])
    return artifact


def message(id: str, artifact_id: str, ts: int = NOON, country: str | None = "NZ") -> Message:
    payload = {"artifactId": artifact_id, "ip": "203.0.113.0/24", "country": country, "city": None, "userAgent": "x"}
    return Message(id, "artifact-view", ts, payload)


async def rows(env: Env) -> int:
    counted = await env.DB.one("SELECT COUNT(*) AS n FROM artifact_views", Count)
    assert counted is not None
    return counted.n


@pytest.mark.parametrize(
    ("ip", "how", "kept"),
    [
        ("203.0.113.77", "truncated", "203.0.113.0/24"),
        ("2001:db8:aa:bb:cc::7", "truncated", "2001:db8:aa::/48"),
        ("203.0.113.77", "full", "203.0.113.77"),
        ("203.0.113.77", "none", None),
        (None, "full", None),
    ],
)
def test_what_is_kept_of_an_address(ip: str | None, how: views.Keeping, kept: str | None) -> None:
    """A network, everything or nothing is stored, as VIEW_IP demands."""
    assert views.kept_ip(ip, how, "secret", NOON) == kept


def test_a_hashed_address_is_the_same_for_one_utc_day() -> None:
    """Views of one day can be recognised as one reader's; across days, keys or addresses nothing can be linked."""

    def code(ip: str = "203.0.113.77", secret: str = "secret", at: int = NOON) -> str | None:
        return views.kept_ip(ip, "hashed", secret, at)

    assert code(at=NOON) == code(at=NOON + DAY // 2 - 1)
    codes = [code(), code(at=NOON + DAY // 2), code(secret="other"), code(ip="203.0.113.78")]
    assert len(set(codes)) == 4 and all(found is not None and len(found) == 32 for found in codes)
    assert views.kept_ip("203.0.113.77", "hashed", None, NOON) is None


async def test_any_order_and_repetition_of_messages_gives_the_same_rows(tmp_path: Path, database_url: str) -> None:
    """Redelivered, shuffled and split into batches of any size, ten messages are ten rows."""
    async with bare_env(tmp_path, database_url) as env:
        artifact = await made(env)
        sent = [message(f"m{n}", artifact.id, ts=NOON + n) for n in range(10)]
        for round in range(5):
            chance = random.Random(round)
            delivered = sent + chance.choices(sent, k=12)
            chance.shuffle(delivered)
            size = chance.randint(1, 10)
            for start in range(0, len(delivered), size):
                await views.write_views(env, delivered[start : start + size])
            assert await rows(env) == 10
        written = await env.DB.all("SELECT * FROM artifact_views ORDER BY id", ArtifactView)
        assert written[3] == ArtifactView("m3", artifact.id, NOON + 3, "203.0.113.0/24", "NZ", None, "x")


async def test_a_message_of_no_artifact_fails_alone(tmp_path: Path, database_url: str) -> None:
    """The bad ones are named, the good ones beside them are rows all the same."""
    async with bare_env(tmp_path, database_url) as env:
        artifact = await made(env)
        torn = Message("torn", "artifact-view", NOON, {"artifactId": artifact.id, "ip": 7})
        batch = [message("m1", artifact.id), message("lost", "nowhere"), torn, message("m2", artifact.id)]
        with pytest.raises(Invalid) as caught:
            await views.write_views(env, batch)
        assert caught.value.detail == {"messages": ["lost", "torn"]}
        assert await rows(env) == 2


async def test_other_messages_are_one_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A `log` and a `workflow-complete` are logged once with their payload, even beside a bad message; a repeated
    `workflow-complete` is ignored, and one without a workflow is bad itself."""
    async with bare_env(tmp_path) as env:
        await env.DB.run(RESULT)
        await env.DB.run(WORKFLOW)
        told = {"workflowId": "wf-1", "userId": "ada"}
        said = [Message("a", "log", NOON, {"text": "hello"}), Message("b", "workflow-complete", NOON, told)]
        nobodys = Message("c", "workflow-complete", NOON, {"workflowId": "wf-2", "userId": "ada"})
        with caplog.at_level(logging.INFO, "picasso.queue"):
            with pytest.raises(Invalid) as caught:
                await views.write_views(env, [*said, message("lost", "nowhere"), nobodys])
            assert caught.value.detail == {"messages": ["lost", "c"]}
            await views.write_views(env, said)
            await views.write_views(env, said[1:])
        lines = [record.__dict__["fields"] for record in caplog.records if record.name == "picasso.queue"]
        assert [(line["step"], line["messageId"], line["payload"]) for line in lines] == [
            ("queue.workflow-complete", "b", told),
            ("queue.log", "a", {"text": "hello"}),
        ]


async def test_the_summary_counts_by_utc_day_and_by_country(tmp_path: Path, database_url: str) -> None:
    """Days from the oldest, countries from the most frequent; a view without a country from the proxy is `unknown`."""
    async with bare_env(tmp_path, database_url) as env:
        artifact = await made(env)
        midnight = 20_000 * DAY
        facts = [(midnight - 1, "NZ"), (midnight, "DE"), (midnight + DAY - 1, "NZ"), (midnight + 5 * DAY, None)]
        await views.write_views(env, [message(f"m{n}", artifact.id, *fact) for n, fact in enumerate(facts)])
        told = await views.summary(env, artifact.id)
        assert told.total == 4
        assert [(day.day, day.views) for day in told.by_day] == [
            ("2024-10-03", 1),
            ("2024-10-04", 2),
            ("2024-10-09", 1),
        ]
        assert [(one.country, one.views) for one in told.by_country] == [("NZ", 2), ("DE", 1), ("unknown", 1)]
        assert await views.summary(env, "nowhere") == views.Summary(0, 0, [], [])


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Twitterbot/1.0",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.1; +https://openai.com/gptbot",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "WhatsApp/2.23.20.0",
    ],
)
def test_crawlers_are_known_by_their_names(agent: str) -> None:
    """A user agent with one of these names is counted separately."""
    assert views.is_crawler(agent)


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "",
        "curl/8.5.0",
        "python-httpx/0.28.1",
        "Wget/1.21",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
        "MyGooglebotFan/1.0",
        "robot",
    ],
)
def test_programs_and_people_are_no_crawlers(agent: str | None) -> None:
    """curl and the like are used by people; a name within another is another name."""
    assert not views.is_crawler(agent)


async def test_crawlers_are_counted_apart_and_in_all(tmp_path: Path, database_url: str) -> None:
    """`bots` are those of `total` that are crawlers."""
    async with bare_env(tmp_path, database_url) as env:
        artifact = await made(env)
        for n, agent in enumerate(["Googlebot/2.1", "curl/8", "Slackbot 1.0", "Safari", None]):
            sent = message(f"m{n}", artifact.id)
            await views.write_views(env, [Message(sent.id, sent.type, sent.ts, {**sent.payload, "userAgent": agent})])
        told = await views.summary(env, artifact.id)
        assert (told.total, told.bots, [day.views for day in told.by_day]) == (5, 2, [5])


def test_order_and_repetition_do_not_matter(tmp_path: Path, rounds: int) -> None:
    """Any shuffle of the messages with any repetitions, in any batches, gives the same rows."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        env = runner.run(stack.enter_async_context(bare_env(tmp_path)))
        artifact = runner.run(made(env))
        sent = [message(f"m{n}", artifact.id, NOON + n, country) for n, country in enumerate(["NZ", "DE", None] * 3)]
        wanted = [(one.id, one.ts, one.payload["country"]) for one in sent]

        @given(again=st.lists(st.integers(0, 8), max_size=12), chance=st.randoms(use_true_random=False))
        @effort(max_examples=300 * rounds, deadline=None)
        def holds(again: list[int], chance: random.Random) -> None:
            shuffled = [*sent, *(sent[n] for n in again)]
            chance.shuffle(shuffled)
            assert runner.run(written(env, shuffled, chance)) == wanted

        holds()
        runner.run(stack.aclose())


async def written(env: Env, messages: list[Message], chance: random.Random) -> list[tuple[str, int, str | None]]:
    """The rows after the messages were handled in batches of any size; the rows are deleted afterwards."""
    while messages:
        size = chance.randint(1, 10)
        await views.write_views(env, messages[:size])
        messages = messages[size:]
    found = await env.DB.all("SELECT * FROM artifact_views ORDER BY id", ArtifactView)
    await env.DB.run("DELETE FROM artifact_views")
    return [(row.id, row.timestamp, row.country) for row in found]


class Deaf:
    """A queue whose `send_soon` fails with the given error."""

    def __init__(self, failure: Exception) -> None:
        self.failure, self.tries = failure, 0

    async def send_soon(self, message: Message) -> None:
        self.tries += 1
        raise self.failure


async def test_a_queue_that_refuses_is_tried_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One try, one line with the outcome `view_dropped`, which the metrics count; one with `ok` where it works."""
    deaf = Deaf(Unavailable("Redis did not answer"))
    async with bare_env(tmp_path, PICASSO_QUEUE=deaf) as env:
        with caplog.at_level(logging.INFO, "picasso.step"), pytest.raises(Uncertain):
            await views.enqueue(env, message("m", "a"))
        assert deaf.tries == 1
    line = Line()
    async with bare_env(tmp_path / "other", PICASSO_QUEUE=line) as env:
        with caplog.at_level(logging.INFO, "picasso.step"):
            await views.enqueue(env, message("m", "a"))
        assert [sent.id for sent in line.messages] == ["m"]
    outcomes = [record.__dict__["fields"]["outcome"] for record in caplog.records if record.msg == "views.enqueue"]
    assert outcomes == ["view_dropped", "ok"]
