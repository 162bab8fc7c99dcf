"""The graphs as LangGraph Studio and `langgraph dev` open them: `graphs/langgraph.json` names the factories below.

Nothing has to be set up: each process works in a temporary home with SQLite, a Redis of its own and the `sketch`
provider, and removes it at its end. The environment is not read, so no vendor can be called and nothing costs money.
"""

import asyncio
import atexit
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, Field

from adapters import planning
from app.bindings import open_env
from app.settings import read_settings
from graphs.chat import session
from graphs.image_job import graph as job_graph
from graphs.image_job.run_config import config_for
from graphs.workflow import graph as workflow_graph
from tools import db
from tools.env import Env
from tools.errors import Unavailable
from tools.ledger import jobs, leases, submissions, workflows
from tools.ledger.submissions import Submission
from tools.publishing import artifacts, templates
from tools.publishing.addresses import whole
from tools.rows import JobRequest

OPEN_SECONDS = 60.0
PACKAGED = 100
"""More than there are packaged templates."""
SETTINGS: Mapping[str, str] = {"JOB_LEASE_SECONDS": "600", "SKETCH_SECONDS": "0.1"}
"""A lease that nobody renews here outlasts the job; sketches come quickly."""


class ImageJob(BaseModel):
    """One image job on the `sketch` provider."""

    prompt: str = Field("a red boat at dawn", min_length=1, max_length=4000)
    variants: int = Field(2, ge=1, le=8, description="How many images.")
    size: str = Field("512x512", description="Width and height in pixels.")
    job_id: str = Field("", description="Set by the graph.")
    images: list[dict[str, Any]] = Field([], description="Set by the graph: each item with its image and verdict.")


class Chat(BaseModel):
    """A chat about a page. A thread is one conversation about one page."""

    input: str = Field("what is missing?", min_length=1, max_length=4000, description="What you say in this turn.")
    artifact_id: str = Field("", description="The page; the first turn makes one from a packaged template.")
    answer: dict[str, Any] = Field({}, description="Set by the graph: reply, configuration and what is missing.")


class Workflow(BaseModel):
    """A general workflow: a task for the built-in reasoning model."""

    task: str = Field("Summarise: three boats, two at dawn.", min_length=1, max_length=10_000)
    workflow_id: str = Field("", description="Set by the graph.")
    result: str = Field("", description="Set by the graph.")


def image_job() -> CompiledStateGraph[Any, Any, Any, Any]:
    """Submit a job, run `graphs/image_job` on it, and show what it made."""
    inner = job_graph.builder.compile()

    async def submit(state: ImageJob) -> dict[str, Any]:
        env = await studio_env()
        project = await db.create_project(env, "Studio", None)
        request = JobRequest(
            prompt=state.prompt,
            providers=[{"provider": "sketch"}],
            session_id="studio",
            variants=state.variants,
            size=state.size,
        )
        planned = planning.plan(env, request)
        submission = Submission(project_id=project.id, request=request, items=planned.items, metadata=planned.metadata)
        job, _ = await submissions.submit(env, submission)
        return {"job_id": job.id}

    async def run(state: ImageJob) -> dict[str, Any]:
        env = await studio_env()
        job = await leases.claim(env, jobs.TABLE, id=state.job_id)
        if job is None:
            raise Unavailable("this job is being run already, or has ended")
        start = job_graph.JobState(job_id=job.id, open=[], passes=0)
        await inner.ainvoke(start, config_for(job), context=env)
        return {}

    async def show(state: ImageJob) -> dict[str, Any]:
        env = await studio_env()
        images = []
        for item in await jobs.items(env, state.job_id):
            made = await db.get_progression(env, item.progression_id) if item.progression_id else None
            images.append(
                {
                    "itemId": item.id,
                    "status": item.status,
                    "url": whole(env.settings, made.generated_image_url) if made else None,
                    "judgment": made.seen if made else None,
                    "notes": made.ai_notes if made else [],
                }
            )
        return {"images": images}

    return StateGraph(ImageJob).add_sequence([submit, run, show]).set_entry_point("submit").compile()


def chat() -> CompiledStateGraph[Any, Any, Any, Any]:
    """One turn of a chat about a page; the conversation is kept by `graphs/chat` on a thread of its own."""

    async def turn(state: Chat, config: RunnableConfig) -> dict[str, Any]:
        env = await studio_env()
        artifact_id = state.artifact_id or await _new_page(env)
        thread = str(config["configurable"].get("thread_id", "studio"))
        answer = await session.speak(env, artifact_id, thread, state.input, None)
        return {"artifact_id": artifact_id, "answer": answer}

    return StateGraph(Chat).add_node("turn", turn).set_entry_point("turn").compile()


async def _new_page(env: Env) -> str:
    """A draft from the first packaged template, for a project whose images it may show."""
    found = await templates.list_page(env, None, PACKAGED)
    template = next(template for template in found.items if template.kind != "generator")
    project = await db.create_project(env, "Studio page", None)
    page = artifacts.draft(generator_id=None, title="Studio page", owner_id="studio", options={})
    await artifacts.create(env, msgspec.structs.replace(page, template_r2_key=template.r2_key), [project.id])
    return page.id


def workflow() -> CompiledStateGraph[Any, Any, Any, Any]:
    """Submit a task, run `graphs/workflow` on it, and show the result."""
    inner = workflow_graph.builder.compile()

    async def submit(state: Workflow) -> dict[str, Any]:
        env = await studio_env()
        row, _ = await workflows.submit(env, "studio", state.task, None)
        return {"workflow_id": row.id}

    async def run(state: Workflow) -> dict[str, Any]:
        env = await studio_env()
        row = await leases.claim(env, workflows.TABLE, id=state.workflow_id)
        if row is None:
            raise Unavailable("this workflow is being run already, or has ended")
        start = workflow_graph.WorkflowState(workflow_id=row.id, alive=True, answer="")
        await inner.ainvoke(start, workflow_graph.config_for(row), context=env)
        return {}

    async def show(state: Workflow) -> dict[str, Any]:
        env = await studio_env()
        return {"result": await workflows.result(env, await workflows.get(env, state.workflow_id)) or ""}

    return StateGraph(Workflow).add_sequence([submit, run, show]).set_entry_point("submit").compile()


async def studio_env() -> Env:
    """The bindings of this process, opened by the first node that asks and kept open while its event loop runs.

    Fails: Unavailable when they cannot be opened within OPEN_SECONDS, or what opening them failed with.
    """
    opened = _opened(asyncio.get_running_loop())
    if opened.task is None or opened.task.done():
        opened.env = asyncio.get_running_loop().create_future()
        opened.task = asyncio.create_task(_keep_open(opened.env), name="studio bindings")
    either: set[asyncio.Future[Any]] = {opened.env, opened.task}
    await asyncio.wait(either, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if opened.task.done():
        await opened.task
    if not opened.env.done():
        raise Unavailable("the bindings of the studio could not be opened in time")
    return opened.env.result()


@dataclasses.dataclass
class Opened:
    """The bindings of one event loop: a server of graphs may have several loops, and bindings belong to one."""

    env: asyncio.Future[Env]
    task: asyncio.Task[None] | None = None


@functools.cache
def _opened(loop: asyncio.AbstractEventLoop) -> Opened:
    return Opened(loop.create_future())


async def _keep_open(ready: asyncio.Future[Env]) -> None:
    home = await asyncio.to_thread(tempfile.mkdtemp, prefix="picasso-studio-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    async with open_env(read_settings({**SETTINGS, "PICASSO_HOME": home})) as env:
        ready.set_result(env)
        await asyncio.Event().wait()
