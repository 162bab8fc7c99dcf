import logging
import random
from pathlib import Path

import pytest

from tests.pages import Line, add_project
from tests.parts import bare_env
from tools import artifacts, views
from tools.env import Env, Message
from tools.errors import Invalid, Unavailable, Uncertain
from tools.rows import ArtifactRow, ArtifactView, Count

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2


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
    """(P5) A network, everything or nothing, as VIEW_IP says."""
    assert views.kept_ip(ip, how, "secret", NOON) == kept


def test_a_hashed_address_is_the_same_for_one_utc_day() -> None:
    """(P5) Readings of one day can be told to be one reader's; across days, keys or addresses nothing is joined."""

    def code(ip: str = "203.0.113.77", secret: str = "secret", at: int = NOON) -> str | None:
        return views.kept_ip(ip, "hashed", secret, at)

    assert code(at=NOON) == code(at=NOON + DAY // 2 - 1)
    codes = [code(), code(at=NOON + DAY // 2), code(secret="other"), code(ip="203.0.113.78")]
    assert len(set(codes)) == 4 and all(found is not None and len(found) == 32 for found in codes)
    assert views.kept_ip("203.0.113.77", "hashed", None, NOON) is None


async def test_any_order_and_repetition_of_messages_gives_the_same_rows(tmp_path: Path, database_url: str) -> None:
    """(Q8) Redelivered, shuffled and split into batches of any size, ten messages are ten rows."""
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
    """(Q2) The bad ones are named, the good ones beside them are rows all the same."""
    async with bare_env(tmp_path, database_url) as env:
        artifact = await made(env)
        torn = Message("torn", "artifact-view", NOON, {"artifactId": artifact.id, "ip": 7})
        batch = [message("m1", artifact.id), message("lost", "nowhere"), torn, message("m2", artifact.id)]
        with pytest.raises(Invalid) as caught:
            await views.write_views(env, batch)
        assert caught.value.detail == {"messages": ["lost", "torn"]}
        assert await rows(env) == 2


async def test_other_messages_are_one_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A `log` and a `workflow-complete` say their payload once, also when a bad message stood beside them at first."""
    async with bare_env(tmp_path) as env:
        said = [
            Message("a", "log", NOON, {"text": "hello"}),
            Message("b", "workflow-complete", NOON, {"workflowId": "w"}),
        ]
        with caplog.at_level(logging.INFO, "picasso.queue"):
            with pytest.raises(Invalid):
                await views.write_views(env, [*said, message("lost", "nowhere")])
            await views.write_views(env, said)
        lines = [record.__dict__["fields"] for record in caplog.records if record.name == "picasso.queue"]
        assert [(line["step"], line["messageId"]) for line in lines] == [
            ("queue.log", "a"),
            ("queue.workflow-complete", "b"),
        ]
        assert (lines[0]["payload"], lines[1]["payload"]) == ({"text": "hello"}, {"workflowId": "w"})


async def test_the_summary_counts_by_utc_day_and_by_country(tmp_path: Path, database_url: str) -> None:
    """Days from the oldest, countries from the most frequent, what no proxy told is `unknown`."""
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


class Deaf:
    """A queue whose `send` fails as it is told to."""

    def __init__(self, failure: Exception) -> None:
        self.failure, self.tries = failure, 0

    async def send(self, message: Message) -> None:
        self.tries += 1
        raise self.failure


async def test_a_queue_that_refuses_is_tried_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """(Q5) One try, one line with the outcome `view_dropped`, which the metrics count; one with `ok` where it works."""
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
