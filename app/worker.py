"""What a worker does: runs jobs and workflows, makes long artifacts, writes views, sweeps. It drains when asked to and
can be killed at any moment."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl

from app.settings import Settings
from generators import registry
from graphs.image_job import graph as orchestrator
from graphs.image_job.run_config import config_for
from graphs.workflow import graph as workflow
from tools import actor_emit, r2
from tools.env import Env
from tools.errors import LeaseLost, PicassoError
from tools.ledger import calls, items, jobs, workflows
from tools.ledger.items import Run
from tools.ledger.workflows import Hold, WorkflowRow
from tools.publishing import renders, views
from tools.publishing.renders import RenderRow
from tools.rows import Job, now_ms
from tools.step import log_context

Claimed = TypeVar("Claimed", Job, WorkflowRow)
Held = TypeVar("Held", Run, Hold, renders.Hold)

log = logging.getLogger("picasso.worker")

MAX_IDLE_CLAIMS = 5
CRASH_LOOP = PicassoError("no progress was made in several tries", code="crash_loop")
SWEEP_SECONDS = 15.0
CLEAN_SECONDS = 3600.0
DRAIN_SECONDS = 20.0
EVENT_DAYS = 90


class Runner:
    """Brings claimed jobs and workflows through their graphs, and knows which are running here."""

    def __init__(self, env: Env) -> None:
        self._env = env
        memories = cast(BaseCheckpointSaver[str], env.AGENTIC_MEMORIES)
        self._orchestrator = orchestrator.builder.compile(memories)
        self._workflow = workflow.builder.compile(memories)
        self._controls: set[RunControl] = set()
        self._draining = False
        self._press = asyncio.Lock()
        """Held while a long artifact is being made: there is one at a time in a process."""
        self._rendering: asyncio.Future[None] | None = None
        self.idle = asyncio.Event()
        """Set while nothing is being run here."""
        self.idle.set()

    def drain(self) -> None:
        """Start nothing more; running graphs stop at their next step, and what is being rendered is left to another
        worker."""
        self._draining = True
        if self._rendering is not None:
            self._rendering.cancel()
        for control in self._controls:
            control.request_drain()

    async def run(self, id: str) -> None:
        """Claim the job, workflow or render and bring it to its end, or return because another worker has it or the
        drain began."""
        if self._draining:
            return
        if id.startswith(workflows.PREFIX):
            await self._run_workflow(id)
        elif id.startswith(renders.PREFIX):
            await self._run_renders()
        else:
            await self._run_job(id)

    async def _run_job(self, job_id: str) -> None:
        if not (job := await self._claim(job_id, items.claim, jobs.get)):
            return
        run = Run(job.id, job.session_id, job.fence)
        with log_context(jobId=job.id, sessionId=job.session_id, correlationId=job.correlation_id):
            if job.idle_claims > MAX_IDLE_CLAIMS:
                await items.abort_job(self._env, run, CRASH_LOOP.code, CRASH_LOOP.message)
                return
            start = {"job_id": job.id, "open": [], "passes": 0}
            work = self._advance(self._orchestrator, config_for(job), start)
            await self._hold(run, items.renew, items.release, work)

    async def _run_workflow(self, workflow_id: str) -> None:
        if not (row := await self._claim(workflow_id, workflows.claim, workflows.get)):
            return
        hold = Hold(row.id, row.fence)
        with log_context(workflowId=row.id, correlationId=row.correlation_id):
            if row.idle_claims > MAX_IDLE_CLAIMS:
                await workflows.fail(self._env, hold, "failed", CRASH_LOOP)
                return
            start = {"workflow_id": row.id, "alive": True, "answer": ""}
            work = self._advance(self._workflow, workflow.config_for(row), start)
            await self._hold(hold, workflows.renew, workflows.release, work)

    async def _run_renders(self) -> None:
        """Make what waits, the oldest first. Whoever asks meanwhile is served by the one who is at it."""
        if self._press.locked():
            return
        async with self._press:
            while not self._draining and (render := await renders.claim_next(self._env)):
                await self._run_render(render)

    async def _run_render(self, render: RenderRow) -> None:
        hold = renders.Hold(render.id, render.fence)
        with log_context(
            artifactId=render.artifact_id, sessionId=render.session_id, correlationId=render.correlation_id
        ):
            if render.idle_claims > MAX_IDLE_CLAIMS:
                await renders.fail(self._env, hold, CRASH_LOOP)
                return
            self._rendering = asyncio.ensure_future(self._render(render, hold))
            await self._hold(hold, renders.renew, renders.release, self._rendering)

    async def _render(self, render: RenderRow, hold: renders.Hold) -> None:
        try:
            generator = registry.find(render.generator_id)
            options = registry.decode_options(generator, render.options)
        except PicassoError as error:
            # It was taken in by a release that knew the kind or took other options.
            await renders.fail(self._env, hold, error)
            return
        await renders.run(self._env, render, generator, options)

    async def _claim(
        self,
        id: str,
        claim: Callable[[Env, str], Awaitable[Claimed | None]],
        get: Callable[[Env, str], Awaitable[Claimed]],
    ) -> Claimed | None:
        # A redelivery may come a moment before the dead worker's lease ends: wait that out once.
        claimed = await claim(self._env, id)
        if claimed is None and (current := await get(self._env, id)).ended_at is None:
            await asyncio.sleep(max(0, current.lease_until - now_ms()) / 1000 + 0.05)
            claimed = await claim(self._env, id)
        return claimed

    async def _hold(
        self,
        hold: Held,
        renew: Callable[[Env, Held], Awaitable[bool]],
        release: Callable[[Env, Held], Awaitable[None]],
        work: Awaitable[None],
    ) -> None:
        """Keep the lease while `work` goes on; stop it when the lease is lost, release it at the end."""
        working = asyncio.ensure_future(work)
        holding = asyncio.ensure_future(self._renew(hold, renew))
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.warning("the lease was lost; the work under it stops here")
        finally:
            for task in (working, holding):
                task.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)
            with contextlib.suppress(PicassoError):
                await release(self._env, hold)
        if not working.cancelled() and (error := working.exception()) and not isinstance(error, LeaseLost):
            raise error

    async def _renew(self, hold: Held, renew: Callable[[Env, Held], Awaitable[bool]]) -> None:
        while True:
            await asyncio.sleep(self._env.settings.job_lease_seconds / 3)
            with contextlib.suppress(PicassoError):
                if not await renew(self._env, hold):
                    return

    async def _advance(
        self, graph: CompiledStateGraph[Any, Env, Any, Any], config: RunnableConfig, start: dict[str, Any]
    ) -> None:
        """Run the graph from where its checkpoints left it, or from the start."""
        control, thread = RunControl(), config["configurable"]["thread_id"]
        self._controls.add(control)
        self.idle.clear()
        try:
            begun = (await graph.aget_state(config)).next
            # Nothing hangs on the last checkpoint (the rows tell), and under "sync" LangGraph 1.2 fails in subgraphs
            # that keep none.
            await graph.ainvoke(
                None if begun else start, config, context=self._env, durability="async", control=control
            )
        except GraphDrained:
            return
        except PicassoError:
            # The rows are the truth: the next claim starts from them, not from a half-failed graph.
            await self._env.AGENTIC_MEMORIES.adelete_thread(thread)
            raise
        finally:
            self._controls.discard(control)
            if not self._controls:
                self.idle.set()
        await self._env.AGENTIC_MEMORIES.adelete_thread(thread)


async def run(env: Env, settings: Settings, draining: asyncio.Event) -> None:
    """Work until `draining` is set, then let running steps end for at most DRAIN_SECONDS."""
    runner = Runner(env)
    if env.DB.dialect == "sqlite":
        await items.release_all(env)
        await workflows.release_all(env)
        await renders.release_all(env)
    duties = [
        asyncio.create_task(duty, name=name)
        for name, duty in {
            "jobs": env.PICASSO_WORKFLOW.work(runner.run),
            "views": env.PICASSO_QUEUE.consume(functools.partial(views.write_views, env)),
            "sweep": _every(SWEEP_SECONDS, functools.partial(resubmit, env)),
            "clean": _every(CLEAN_SECONDS, functools.partial(clean, env)),
        }.items()
    ]
    stop = asyncio.create_task(draining.wait())
    try:
        await asyncio.wait({stop, *duties}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        failures = await _end(duties, runner)
    for failure in failures:
        raise failure


async def _end(duties: list[asyncio.Task[None]], runner: Runner) -> list[Exception]:
    """Let running graphs stop at their next step, for at most DRAIN_SECONDS; then end every duty.

    A cancellation can get lost in a client's own `wait_for` (Python 3.11), so it is said until it is heard.
    """
    runner.drain()
    for duty in duties:
        duty.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await runner.idle.wait()
    left = set(duties)
    while left:
        _, left = await asyncio.wait(left, timeout=1.0)
        for duty in left:
            duty.cancel()
    return [error for duty in duties if not duty.cancelled() and isinstance(error := duty.exception(), Exception)]


async def resubmit(env: Env) -> None:
    """Ask again for every open job, workflow and render that nobody holds: what a crash lost between commit and queue,
    or Redis forgot.

    Calls of ended jobs that a dead worker left in flight are settled, and old ones to models.
    """
    await items.close_lost(env)
    await calls.lose_old(env)
    waiting = [*await items.open_jobs(env), *await workflows.open_workflows(env), *await renders.open_renders(env)]
    for id in waiting:
        await env.PICASSO_WORKFLOW.enqueue(id)


async def clean(env: Env) -> None:
    """Remove what nothing names any more, and events past their age."""
    await r2.sweep(env)
    while await actor_emit.prune(env, now_ms() - EVENT_DAYS * 86_400_000):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def _every(seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await duty()
        except PicassoError as error:
            log.warning("a sweep did not finish: %s", error.message)
        await asyncio.sleep(seconds)
