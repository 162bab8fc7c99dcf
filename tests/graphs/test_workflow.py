"""The workflow's graph over real rows and a played model: what a repetition, a lost lease and a bad vendor come to."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from app.worker import Runner
from graphs.workflow import graph as workflow
from graphs.workflow.builtin_answer import constraints, numbers
from tests.support.chat_vendors import MODELS, chat_env, rows
from tests.support.environment import bare_env
from tests.support.internet import Answer, Wire
from tests.support.samples.job_states import IdleServices
from tests.support.samples.page_site import Line
from tools.env import Env, Message
from tools.errors import LeaseLost, Unavailable
from tools.ledger import leases, model_calls, workflows
from tools.ledger.leases import MAX_DEATHS, Lease
from tools.ledger.workflows import Completed, WorkflowResult, WorkflowRow
from tools.models import prices
from tools.rows import Count

TASK = "Name three posters of a red boat."
SAID = "Dawn. Noon. Dusk."


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as wire:
        yield wire


@contextlib.asynccontextmanager
async def thinking(home: Path, wire: Wire, database_url: str = "", queue: Line | None = None) -> AsyncIterator[Env]:
    """An `Env` with a simulated reasoning model and a queue that records what is sent to it."""
    model = {"DEFAULT_MODEL_REASONING": MODELS["openai"], "JOB_LEASE_SECONDS": "60"}
    async with chat_env(home, wire, database_url, **model) as env:
        yield dataclasses.replace(env, PICASSO_WORKFLOW=IdleServices(), PICASSO_QUEUE=queue or Line())  # type: ignore[arg-type]


async def submitted(env: Env, task: str = TASK) -> str:
    row, replayed = await workflows.submit(env, "ada", task, None)
    assert not replayed and row.status == "queued"
    return row.id


async def claimed(env: Env, workflow_id: str) -> WorkflowRow:
    row = await leases.claim(env, workflows.TABLE, id=workflow_id)
    assert row is not None
    return row


async def run(env: Env, row: WorkflowRow) -> WorkflowRow:
    """Run the graph from its start under this claim."""
    state = workflow.WorkflowState(workflow_id=row.id, alive=True, answer="")
    await workflow.builder.compile().ainvoke(state, workflow.config_for(row), context=env)
    return await workflows.get(env, row.id)


async def results(env: Env) -> list[WorkflowResult]:
    return await env.DB.all("SELECT * FROM workflow_results", WorkflowResult)


def enqueued(env: Env) -> list[str]:
    nobody: Any = env.PICASSO_WORKFLOW
    return list(nobody.enqueued)


def sent(env: Env) -> list[Message]:
    queue: Any = env.PICASSO_QUEUE
    return list(queue.messages)


async def test_a_task_becomes_a_stored_and_announced_result(tmp_path: Path, wire: Wire, database_url: str) -> None:
    """One call, one row of the ledger with its cost, one result under the task, one message; all steps done."""
    wire.scripts["openai_chat"].append(Answer(text=SAID))
    async with thinking(tmp_path, wire, database_url) as env:
        done = await run(env, await claimed(env, await submitted(env)))
        assert (done.status, done.steps_done, done.error) == ("complete", 4, None)
        assert enqueued(env) == [done.id]
        [stored], [call], [message] = await results(env), await rows(env), sent(env)
        assert (stored.id, stored.user_id, stored.task, stored.result) == (done.result_id, "ada", TASK, SAID)
        assert (call.purpose, call.subject, call.state, call.project_id) == ("workflow", done.id, "succeeded", None)
        assert call.cost_micros == round(wire.calls[0].bill * 1e6) and call.cost_basis == "usage"
        assert message.type == "workflow-complete"
        assert message.payload == {"workflowId": done.id, "userId": "ada", "task": TASK, "result": SAID}
    words = [part["content"] for part in wire.calls[0].body["messages"]]
    assert len(words) == 2 and words[1] == TASK


class Fatal(Line):
    """A queue that delivers its first message and then fails, as if the sender had died."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.messages) == 1:
            raise RuntimeError("the process ends here")


async def test_a_run_that_is_repeated_does_nothing_twice(tmp_path: Path, wire: Wire) -> None:
    """The worker dies right after the message was sent: the next claim, without any checkpoint, calls no model, stores
    nothing anew, and sends the same message."""
    async with thinking(tmp_path, wire, queue=Fatal()) as env:
        row = await claimed(env, await submitted(env))
        with pytest.raises(RuntimeError):
            await run(env, row)
        assert (await workflows.get(env, row.id)).status == "running"
        before = await results(env)
        await leases.release(env, workflows.TABLE, Lease(row.id, row.fence))
        done = await run(env, await claimed(env, row.id))
        assert (done.status, done.started_at) == ("complete", row.started_at)
        assert await results(env) == before and len(before) == 1
        assert [message.id for message in sent(env)] == [sent(env)[0].id] * 2
    assert len(wire.calls) == 1


async def test_a_stored_result_needs_no_model(tmp_path: Path, wire: Wire) -> None:
    """When the rule answered and the worker died while announcing, the next worker announces that result and calls no
    model."""
    queue = Fatal()
    async with thinking(tmp_path, wire, queue=queue) as env:
        row = await claimed(env, await submitted(env))
        with pytest.raises(RuntimeError):
            await run(dataclasses.replace(env, DEFAULT_MODEL_REASONING="builtin"), row)
        await leases.release(env, workflows.TABLE, Lease(row.id, row.fence))
        done = await run(env, await claimed(env, row.id))
        assert done.status == "complete" and "built-in" in str(await workflows.result(env, done))
    assert wire.calls == []


async def test_a_vendor_that_says_much_later_is_asked_by_a_later_claim(tmp_path: Path, wire: Wire) -> None:
    """The wait is longer than a call may take: the workflow stays open, and the next claim makes the last call."""
    wire.scripts["openai_chat"].extend([Answer("rate", retry_after="120"), Answer(text=SAID)])
    async with thinking(tmp_path, wire) as env:
        row = await claimed(env, await submitted(env))
        with pytest.raises(Unavailable):
            await run(env, row)
        assert (await workflows.get(env, row.id)).status == "running"
        await leases.release(env, workflows.TABLE, Lease(row.id, row.fence))
        assert (await run(env, await claimed(env, row.id))).status == "complete"
        assert [call.state for call in await rows(env)] == ["failed", "succeeded"]
    assert len(wire.calls) == 2


async def test_an_answer_that_was_paid_for_is_taken_up(tmp_path: Path, wire: Wire) -> None:
    """The worker dies between the answer and its storing: the ledger has the answer, and no second call is made."""
    wire.scripts["openai_chat"].append(Answer(text=SAID))
    async with thinking(tmp_path, wire) as env:
        row = await claimed(env, await submitted(env))
        graph = workflow.builder.compile(interrupt_before=["store-result"], checkpointer=InMemorySaver())
        state = workflow.WorkflowState(workflow_id=row.id, alive=True, answer="")
        await graph.ainvoke(state, workflow.config_for(row), context=env)
        assert (await workflows.get(env, row.id)).steps_done == 2 and await results(env) == []
        await leases.release(env, workflows.TABLE, Lease(row.id, row.fence))
        assert (await run(env, await claimed(env, row.id))).status == "complete"
        assert [stored.result for stored in await results(env)] == [SAID]
    assert len(wire.calls) == 1


async def test_a_call_that_a_crash_left_in_flight_is_not_made_again(tmp_path: Path, wire: Wire) -> None:
    """A row that is `sent` when the next worker comes: the workflow ends `uncertain`, and nothing reaches the wire."""
    async with thinking(tmp_path, wire) as env:
        row = await claimed(env, await submitted(env))
        quoted = prices.Quote(0, 10, "v", "estimate")
        assert await model_calls.begin(env, workflow.call_key(Lease(row.id, row.fence)), 1, MODELS["openai"], quoted)
        await leases.release(env, workflows.TABLE, Lease(row.id, row.fence))
        ended = await run(env, await claimed(env, row.id))
        assert (ended.status, ended.steps_done, ended.result_id) == ("uncertain", 1, None)
        assert ended.error is not None and ended.error.code == "uncertain"
        assert [(call.state, call.billed) for call in await rows(env)] == [("uncertain", 1)]
        assert sent(env) == []
    assert wire.calls == []


@pytest.mark.parametrize(
    ("faults", "status", "code", "states"),
    [
        (["error", "ok"], "complete", None, ["failed", "succeeded"]),
        (["error", "error", "ok"], "failed", "unavailable", ["failed", "failed"]),
        (["refuse"], "failed", "refused", ["refused"]),
        (["quota"], "failed", "provider_failed", ["failed"]),
        (["empty"], "failed", "provider_failed", ["failed"]),
        (["wrong_mime"], "failed", "provider_failed", ["failed"]),
        (["drop"], "uncertain", "uncertain", ["uncertain"]),
    ],
)
async def test_what_the_vendor_does_is_told(
    tmp_path: Path, wire: Wire, faults: list[Any], status: str, code: str | None, states: list[str]
) -> None:
    """Outages are tried once more, refusals and lost answers are not; the error is safe to show and can be found in the
    log."""
    wire.scripts["openai_chat"].extend(Answer(fault, retry_after="0") for fault in faults)
    async with thinking(tmp_path, wire) as env:
        row = await run(env, await claimed(env, await submitted(env)))
        assert (row.status, row.error.code if row.error else None) == (status, code)
        assert [call.state for call in await rows(env)] == states
        assert len(wire.calls) == len(states)
        assert len(await results(env)) == len(sent(env)) == (1 if status == "complete" else 0)
        if row.error:
            assert "http" not in row.error.message and row.error.correlation_id
        assert await leases.claim(env, workflows.TABLE, id=row.id) is None


async def test_a_worker_that_lost_its_lease_calls_and_writes_nothing(tmp_path: Path, wire: Wire) -> None:
    """When the row belongs to a later claim, no step is recorded, no call begins, no result and no end is written."""
    async with thinking(tmp_path, wire) as env:
        late = await claimed(env, await submitted(env))
        lease = Lease(late.id, late.fence)
        await leases.release(env, workflows.TABLE, lease)
        heir = await claimed(env, late.id)
        assert heir.fence == late.fence + 1 and await leases.claim(env, workflows.TABLE, id=late.id) is None
        assert not await leases.renew(env, workflows.TABLE, lease)
        quoted = prices.Quote(0, 10, "v", "estimate")
        for write in (
            workflows.advance(env, lease, "validate"),
            model_calls.begin(env, workflow.call_key(lease), 1, MODELS["openai"], quoted),
            workflows.store_result(env, lease, "late"),
            workflows.complete(env, lease),
            workflows.fail(env, lease, "failed", LeaseLost("late")),
        ):
            with pytest.raises(LeaseLost):
                await write
        with pytest.raises(LeaseLost):
            await run(env, late)
        await leases.release(env, workflows.TABLE, lease)
        assert await workflows.get(env, late.id) == heir
        assert (await rows(env), await results(env)) == ([], [])
    assert wire.calls == []


async def test_a_task_without_words_is_not_paid_for(tmp_path: Path, wire: Wire) -> None:
    """`validate` ends such a workflow before the model is called."""
    async with thinking(tmp_path, wire) as env:
        ended = await run(env, await claimed(env, await submitted(env, "… !?")))
        assert (ended.status, ended.steps_done) == ("failed", 0)
        assert ended.error is not None and ended.error.code == "no_words"
    assert wire.calls == []


async def test_without_a_model_the_rule_answers_and_says_so(tmp_path: Path) -> None:
    """The built-in brief restates the task, lists the words it recognises, adds none, and is free."""
    task = (
        "A calm series of 3 posters: a red boat at dawn, 40 x 60 cm. No text. It must fit on A2, and at most two boats."
    )
    async with bare_env(tmp_path, PICASSO_WORKFLOW=IdleServices(), PICASSO_QUEUE=Line()) as env:
        done = await run(env, await claimed(env, await submitted(env, task)))
        result = await workflows.result(env, done)
        assert done.status == "complete" and result is not None
        opening, told, listed = result.split("\n\n")
        assert "built-in" in opening and "DEFAULT_MODEL_REASONING" in opening
        assert told == f"Task: {task}"
        assert listed.splitlines() == [
            "- Colours: red",
            "- Mood: calm",
            "- Numbers: 3 posters; 40 x 60 cm",
            "- Constraints: No text; It must fit on A2; and at most two boats",
        ]
        assert await env.DB.one("SELECT COUNT(*) AS n FROM model_calls", Count) == Count(0)


def test_numbers_and_constraints_are_quoted_as_they_stand() -> None:
    """What the rule lists are the task's own words; a word it does not know is in no list."""
    assert numbers("16:9, 1024x1024, 50% grey, 2.5 m and A4; v2.0") == ("16:9", "1024x1024", "50%", "2.5 m")
    assert constraints("Notes on nothing. Only blue!\nAs you like, but never red") == ("Only blue", "but never red")


async def test_a_workflow_that_ends_its_workers_is_ended(tmp_path: Path, wire: Wire) -> None:
    """More than five claims in a row that die and finish no step: `crash_loop`; a step that was finished begins anew,
    and a claim that was released counts for nothing."""
    async with thinking(tmp_path, wire) as env:
        env = dataclasses.replace(env, AGENTIC_MEMORIES=InMemorySaver())
        runner, workflow_id = Runner(env), await submitted(env)
        for n in range(MAX_DEATHS + 2):
            row = await claimed(env, workflow_id)
            assert row.idle_claims == max(0, n - 1), "the second claim died after a step"
            if n == 1:
                await workflows.advance(env, Lease(row.id, row.fence), "validate")
            await leases.release(env, workflows.TABLE, Lease(row.id, row.fence), died=n > 0)
        await runner.run(workflow_id)
        ended = await workflows.get(env, workflow_id)
        assert (ended.status, ended.steps_done) == ("failed", 1)
        assert ended.error is not None and ended.error.code == "crash_loop"
        await runner.run(await submitted(env))
        assert len(wire.calls) == 1 and len(sent(env)) == 1


async def test_a_runner_takes_up_what_a_drain_left(tmp_path: Path, wire: Wire) -> None:
    """A draining runner begins nothing; the next runner continues the workflow to its end."""
    async with thinking(tmp_path, wire) as env:
        env = dataclasses.replace(env, AGENTIC_MEMORIES=InMemorySaver())
        leaving, workflow_id = Runner(env), await submitted(env)
        leaving.drain()
        await leaving.run(workflow_id)
        assert (await workflows.get(env, workflow_id)).status == "queued"
        assert await leases.unclaimed(env, workflows.TABLE) == [workflow_id]
        await Runner(env).run(workflow_id)
        assert (await workflows.get(env, workflow_id)).status == "complete"
        assert await leases.unclaimed(env, workflows.TABLE) == []


@pytest.mark.parametrize("letter", ["a", "\n", "\U0001f6a3", "ü"])
def test_a_long_result_is_cut_to_what_a_message_holds(letter: str) -> None:
    """The longest beginning that fits, whatever its letters take; a short one is whole."""
    for length in (0, 1, 50_000):
        cut = workflows.cut_to_bytes(letter * length, 30_000)
        assert len(msgspec.json.encode(cut)) <= 30_000
        assert len(cut) == length or len(msgspec.json.encode(cut + letter)) > 30_000


async def test_an_announcement_is_noted_once(tmp_path: Path, wire: Wire) -> None:
    """Of one message however often only the first is news; of no result there can be none."""
    async with thinking(tmp_path, wire) as env:
        waiting = await submitted(env)
        done = await run(env, await claimed(env, await submitted(env)))
        [message] = sent(env)
        unknown = [
            Message("m", "workflow-complete", 1, {"workflowId": waiting, "userId": "ada"}),
            Message("m", "workflow-complete", 1, {"workflowId": "wf-nobody", "userId": "ada"}),
            Message("m", "workflow-complete", 1, {"workflowId": 7}),
        ]
        told: list[str] = []
        for one in [message, message, *unknown]:
            async with env.DB.transaction() as tx:
                told.append(await workflows.note(tx, one))
        assert told == ["first", "again", "unknown", "unknown", "unknown"]
        assert (await workflows.get(env, done.id)).notified_at is not None
        assert Completed(done.id, "ada").workflow_id == message.payload["workflowId"]
