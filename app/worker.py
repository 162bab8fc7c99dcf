"""The worker: runs jobs and workflows, makes long artifacts, writes views, sweeps. It drains when it is asked to, and
can be killed at any moment."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl

from app.isolation import Isolation
from app.owned_tasks import end_tasks
from app.settings import Settings
from generators import registry
from graphs import render as rendering
from graphs.image_job import graph as image_job
from graphs.image_job import waves
from graphs.image_job.run_config import config_for
from graphs.workflow import graph as workflow
from tools import actor_emit, images, r2
from tools.env import Env
from tools.errors import LeaseLost, PicassoError, Unavailable
from tools.ledger import attempts, deaths, jobs, leases, model_calls, workflows
from tools.ledger.leases import MAX_DEATHS, Lease, WorkTable
from tools.ledger.workflows import WorkflowRow
from tools.publishing import renders, views
from tools.publishing.renders import RenderRow
from tools.rows import Job, now_ms
from tools.step import log_context

Claimed = TypeVar("Claimed", Job, WorkflowRow, RenderRow)

log = logging.getLogger("picasso.worker")

TABLES: tuple[WorkTable[Any], ...] = (jobs.TABLE, workflows.TABLE, renders.TABLE)
"""What a worker may claim."""
CRASH_LOOP = PicassoError("no progress was made in several tries", code="crash_loop")
OUTAGE_SECONDS = 86_400.0
"""How long work that what it needs is Unavailable to is tried again for nothing; later such tries count as deaths."""
WATCH_SECONDS = 0.2
SWEEP_SECONDS = 15.0
CLEAN_SECONDS = 3600.0
DRAIN_SECONDS = 20.0
EVENT_DAYS = 90


class Runner:
    """Brings claimed jobs, workflows and renders to their end, and knows which are running in this process."""

    def __init__(self, env: Env) -> None:
        self._env = env
        checkpointer = cast(BaseCheckpointSaver[str], env.AGENTIC_MEMORIES)
        self._image_job = image_job.builder.compile(checkpointer)
        self._workflow = workflow.builder.compile(checkpointer)
        self._controls: set[RunControl] = set()
        self._draining = False
        self._isolation = Isolation()
        self._render_lock = asyncio.Lock()
        """Held while renders are made: there is one at a time in a process."""
        self._rendering: asyncio.Task[None] | None = None
        self.idle = asyncio.Event()
        """Set while no graph is running here."""
        self.idle.set()

    def drain(self) -> None:
        """Start nothing more; running graphs stop at their next step, and a render is left to another worker."""
        self._draining = True
        self._isolation.close()
        if self._rendering is not None:
            self._rendering.cancel()
        for control in self._controls:
            control.request_drain()

    async def run(self, id: str) -> None:
        """Claim the job, workflow or render and bring it to its end; return when another worker has it or the drain
        began."""
        if self._draining:
            return
        if id.startswith(workflows.PREFIX):
            await self._run_workflow(id)
        elif id.startswith(renders.PREFIX):
            await self._run_renders()
        else:
            await self._run_job(id)

    async def _run_job(self, job_id: str) -> None:
        """Claim the job until its items have ended: those that may have ended workers have claims of their own."""
        env, tried = self._env, set[str]()
        while job := await self._claimable(jobs.TABLE, jobs.get, job_id):
            rows = await jobs.items(env, job_id)
            if waves.suspicion(job.idle_claims, rows):
                async with self._isolation.alone() as let_others_in:
                    chosen = await self._least_suspect(job_id, tried)
                    tried.add(chosen)
                    await self._claim_job(chosen, let_others_in)
                if chosen != job_id:
                    continue
            else:
                async with self._isolation.together():
                    await self._claim_job(job_id)
            left = {item.id for item in await jobs.items(env, job_id) if item.ended_at is None}
            if left >= {item.id for item in rows if item.ended_at is None}:
                return

    async def _least_suspect(self, job_id: str, tried: set[str]) -> str:
        """Of the jobs that may have ended workers, the one with the fewest deaths that was not tried yet: so that a
        process that is killed from outside does not put it down to the same job each time."""
        ranked = []
        for id in {job_id, *await jobs.suspects(self._env)} - tried:
            job = await jobs.get(self._env, id)
            if deaths_so_far := waves.suspicion(job.idle_claims, await jobs.items(self._env, id)):
                ranked.append((deaths_so_far, job.created_at, id))
        return min(ranked)[2] if ranked else job_id

    async def _claim_job(self, job_id: str, let_others_in: Callable[[], None] | None = None) -> None:
        """One claim of the job: its next wave of items, if another worker was not faster."""
        if self._draining or not (job := await leases.claim(self._env, jobs.TABLE, id=job_id)):
            return
        lease = Lease(job.id, job.fence)
        with log_context(jobId=job.id, sessionId=job.session_id, correlationId=job.correlation_id):
            suspects = [item for item in await jobs.items(self._env, job.id) if item.deaths and item.ended_at is None]
            start = {"job_id": job.id, "open": [], "passes": 0}
            work = self._run_graph(self._image_job, config_for(job), start, anew=bool(suspects or job.idle_claims))
            stuck = functools.partial(deaths.is_stuck, self._env, lease)
            await self._under_lease(jobs.TABLE, lease, job.started_at, work, let_others_in, stuck)

    async def _run_workflow(self, workflow_id: str) -> None:
        if row := await self._claimable(workflows.TABLE, workflows.get, workflow_id):
            await self._isolated(row, functools.partial(self._claim_workflow, workflow_id))

    async def _claim_workflow(self, workflow_id: str, let_others_in: Callable[[], None] | None = None) -> None:
        env = self._env
        if self._draining or not (row := await leases.claim(env, workflows.TABLE, id=workflow_id)):
            return
        lease = Lease(row.id, row.fence)
        with log_context(workflowId=row.id, correlationId=row.correlation_id):
            if row.idle_claims > MAX_DEATHS:
                await workflows.fail(env, lease, "failed", CRASH_LOOP)
                return
            start = {"workflow_id": row.id, "alive": True, "answer": ""}
            work = self._run_graph(self._workflow, workflow.config_for(row), start)
            stuck = functools.partial(_has_deaths, env, workflows.get, row.id)
            await self._under_lease(workflows.TABLE, lease, row.started_at, work, let_others_in, stuck)

    async def _run_renders(self) -> None:
        """Make the renders that wait, the oldest first, also those that are asked for meanwhile."""
        if self._render_lock.locked():
            return
        async with self._render_lock:
            made = True
            while made and not self._draining:
                made = False
                for id in await leases.unclaimed(self._env, renders.TABLE):
                    if row := await self._claimable(renders.TABLE, renders.get, id):
                        await self._isolated(row, functools.partial(self._claim_render, id))
                        made = True
                        break

    async def _claim_render(self, render_id: str, let_others_in: Callable[[], None] | None = None) -> None:
        if self._draining or not (render := await leases.claim(self._env, renders.TABLE, id=render_id)):
            return
        # A task of its own, so that a drain can end it and nothing else.
        self._rendering = asyncio.create_task(self._run_render(render, let_others_in))
        try:
            await asyncio.wait({self._rendering})
        finally:
            await end_tasks([self._rendering])
        if not self._rendering.cancelled():
            self._rendering.result()

    async def _run_render(self, render: RenderRow, let_others_in: Callable[[], None] | None) -> None:
        lease = Lease(render.id, render.fence)
        with log_context(
            artifactId=render.artifact_id, sessionId=render.session_id, correlationId=render.correlation_id
        ):
            if render.idle_claims > MAX_DEATHS:
                await renders.fail(self._env, lease, CRASH_LOOP)
                return
            try:
                generator = registry.find(render.generator_id)
                options = registry.decode_options(generator, render.options)
            except PicassoError as error:
                # The release that accepted it had this generator, or other options for it.
                await renders.fail(self._env, lease, error)
                return
            work = rendering.run(self._env, render, generator, options)
            stuck = functools.partial(_has_deaths, self._env, renders.get, render.id)
            await self._under_lease(renders.TABLE, lease, render.started_at, work, let_others_in, stuck)

    async def _claimable(
        self, table: WorkTable[Claimed], get: Callable[[Env, str], Awaitable[Claimed]], id: str
    ) -> Claimed | None:
        """The row, with its deaths counted, if it is open and no worker has it."""
        if self._draining:
            return None
        # A redelivery may come a moment before the dead worker's lease ends: wait that out once.
        row = await get(self._env, id)
        if row.ended_at is None and row.lease_until > now_ms():
            await asyncio.sleep((row.lease_until - now_ms()) / 1000 + 0.05)
        await leases.note_death(self._env, table, id)
        row = await get(self._env, id)
        return row if row.ended_at is None and row.lease_until <= now_ms() else None

    async def _isolated(self, row: Claimed, claim: Callable[..., Awaitable[None]]) -> None:
        """Run the claim beside others, or alone when earlier ones died."""
        if row.idle_claims:
            async with self._isolation.alone() as let_others_in:
                await claim(let_others_in)
        else:
            async with self._isolation.together():
                await claim()

    async def _under_lease(
        self,
        table: WorkTable[Any],
        lease: Lease,
        begun_at: int | None,
        work: Coroutine[Any, Any, None],
        let_others_in: Callable[[], None] | None,
        is_stuck: Callable[[], Awaitable[bool]],
    ) -> None:
        """Do the work; when it runs alone, let others in once it has come further than the claims that died."""

        async def watch(let_in: Callable[[], None]) -> None:
            stuck = True
            while stuck:
                await asyncio.sleep(WATCH_SECONDS)
                with contextlib.suppress(PicassoError):
                    stuck = await is_stuck()
            let_in()

        watching = [asyncio.create_task(watch(let_others_in))] if let_others_in else []
        try:
            async with leases.keep(self._env, table, lease):
                try:
                    await work
                except Unavailable as error:
                    if now_ms() - (begun_at or now_ms()) > OUTAGE_SECONDS * 1000:
                        raise PicassoError("a part that this needs has been away for too long") from error
                    raise
        except LeaseLost:
            log.warning("the lease was lost; the work under it stops here")
        finally:
            await end_tasks(watching)

    async def _run_graph(
        self,
        graph: CompiledStateGraph[Any, Env, Any, Any],
        config: RunnableConfig,
        start: dict[str, Any],
        *,
        anew: bool = False,
    ) -> None:
        """Run the graph from where its checkpoints left it, or from the start; `anew` leaves the checkpoints aside."""
        control, thread = RunControl(), config["configurable"]["thread_id"]
        self._controls.add(control)
        self.idle.clear()
        try:
            begun = not anew and (await graph.aget_state(config)).next
            # A lost last checkpoint costs nothing, because the rows say what was done; and with "sync" LangGraph 1.2
            # fails in subgraphs that keep none.
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
        # No other process can hold a lease: whatever is leased was left by one that died.
        for table in TABLES:
            # Where this fails, they end by themselves.
            try:
                await leases.expire_all(env, table)
            except PicassoError as error:
                log.warning("leases of an earlier process were left to run out: %s", error.message)
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
    """Let running graphs stop at their next step, for at most DRAIN_SECONDS, and end every duty; what duties failed
    with."""
    runner.drain()
    for duty in duties:
        duty.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await runner.idle.wait()
    await end_tasks(duties)
    return [error for duty in duties if not duty.cancelled() and isinstance(error := duty.exception(), Exception)]


async def resubmit(env: Env) -> None:
    """Ask again for every job, workflow and render that no worker has: a crash between commit and queue, or Redis, may
    have lost the first request.

    Effect: calls that dead workers left in flight are settled too.
    Fails: with the last error, after all that could be done.
    """

    async def enqueue(table: WorkTable[Any]) -> None:
        for id in await leases.unclaimed(env, table):
            await leases.note_death(env, table, id)
        for id in await leases.unclaimed(env, table):
            await env.PICASSO_WORKFLOW.enqueue(id)

    failure: PicassoError | None = None
    for duty in (attempts.close_lost(env), model_calls.settle_stale(env), *map(enqueue, TABLES)):
        try:
            await duty
        except PicassoError as error:
            failure = error
    if failure is not None:
        raise failure


async def clean(env: Env) -> None:
    """Remove the objects in BUCKET and the previews that no row names, and events older than EVENT_DAYS."""
    await r2.sweep(env)
    while await actor_emit.prune(env, now_ms() - EVENT_DAYS * 86_400_000):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await images.sweep_previews(env)


async def _has_deaths(env: Env, get: Callable[[Env, str], Awaitable[WorkflowRow | RenderRow]], id: str) -> bool:
    """Whether the row has finished no step since its last claim died."""
    row = await get(env, id)
    return row.ended_at is None and row.idle_claims > 0


async def _every(seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await duty()
        except PicassoError as error:
            log.warning("a sweep did not finish: %s", error.message)
        await asyncio.sleep(seconds)
