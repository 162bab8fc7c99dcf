"""A job whose prompts are refined and whose images are judged by models on the false Internet."""

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

from tests.support.api_calls import calling, ended, environ, events, new_project, submit
from tests.support.chat_vendors import MODELS, chat_settings
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import running
from tests.support.vendors.chat import FAIL, PASS


def with_models(home: Path, wire: Wire) -> dict[str, str]:
    """The settings of a server that refines with OpenAI's model and judges with Gemini's."""
    chosen = chat_settings(home, wire)
    models = {"DEFAULT_MODEL_REASONING": MODELS["openai"], "DEFAULT_MODEL_VISION": MODELS["gemini"]}
    return environ(**chosen.vendor, **models, PRICES=str(chosen.prices))


def ledger(home: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(home / "picasso.db") as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM model_calls ORDER BY purpose, subject, number")]


async def test_models_refine_and_judge_a_job(tmp_path: Path) -> None:
    """One refinement for the provider and one judge call per image; the prompt, the verdicts and the costs are
    stored."""
    async with Wire() as wire, running(tmp_path, **with_models(tmp_path, wire)) as server, calling(server) as client:
        wire.scripts["gemini_chat"].extend([Answer(text=json.dumps(PASS)), Answer(text=json.dumps(FAIL))])
        job = await submit(client, await new_project(client), variants=2)
        after = await ended(client, job["jobId"])
        told = [event["data"] for event in await events(client) if event["type"] == "judge"]
        assert after["status"] == "complete"
        assert sorted(str(data["judgment"]) for data in told) == ["fail", "pass"]
        refined = after["metadata"]["refinedPrompt"]["sketch"]
        assert refined == "a red boat at dawn\n\nGuidance: Let soft light fall from the side."
        assert after["metadata"]["appliedTips"]["sketch"]
        assert [call.vendor for call in wire.calls] == ["openai_chat", "gemini_chat", "gemini_chat"]
        assert [(row["purpose"], row["state"]) for row in ledger(tmp_path)] == [
            ("judge", "succeeded"),
            ("judge", "succeeded"),
            ("refine", "succeeded"),
        ]
        assert sum(row["cost_micros"] for row in ledger(tmp_path)) == sum(round(c.bill * 1e6) for c in wire.calls)


async def test_no_call_to_a_model_is_repeated_after_a_kill(tmp_path: Path) -> None:
    """SIGKILL while a refinement, then a judge call, is in flight: the built-in rule and the verdict `error` stand in,
    and the job completes."""
    async with Wire() as wire:
        wire.scripts["openai_chat"].append(Answer("hang"))
        wire.scripts["gemini_chat"].append(Answer("hang"))
        async with running(tmp_path, **with_models(tmp_path, wire)) as server, calling(server) as client:
            job = await submit(client, await new_project(client))
            await wire.received(1, "openai_chat")
            os.kill(server.process.pid, signal.SIGKILL)
        async with running(tmp_path, **with_models(tmp_path, wire)) as server:
            await wire.received(1, "gemini_chat")
            os.kill(server.process.pid, signal.SIGKILL)
        async with running(tmp_path, **with_models(tmp_path, wire)) as server, calling(server) as client:
            after = await ended(client, job["jobId"])
            (progression,) = (await client.get(f"/api/projects/{after['projectId']}/progressions")).json()["items"]
            assert (after["status"], progression["judge_status"], progression["judgment"]) == (
                "complete",
                "error",
                None,
            )
            assert after["metadata"]["refinedPrompt"]["sketch"].startswith("a red boat at dawn\n\nGuidance: ")
            assert len(wire.calls) == 2
            assert [(row["state"], row["cost_micros"] == row["quote_micros"]) for row in ledger(tmp_path)] == [
                ("uncertain", True),
                ("uncertain", True),
            ]
