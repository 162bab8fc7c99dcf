"""What a worker does: runs jobs, writes views, sweeps. It drains when asked to and can be killed at any moment."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from app.settings import Settings
from graphs import orchestrator
from graphs.runs import config_for, thread_of
from tools import actor_emit, calls, jobs, ledger, r2, views
from tools.env import Env
from tools.errors import LeaseLost, PicassoError
from tools.ledger import Run
from tools.rows import Job, now_ms
from tools.step import bound

log = logging.getLogger("picasso.worker")

MAX_IDLE_CLAIMS = 5
SWEEP_SECONDS = 15.0
CLEAN_SECONDS = 3600.0
DRAIN_SECONDS = 20.0
EVENT_DAYS = 90


class JobRunner:
    """Runs claimed jobs through the orchestrator graph and knows which are running here."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._graph = orchestrator.builder.compile(cast(BaseCheckpointSaver[str], env.AGENTIC_MEMORIES))
        self._controls: set[RunControl] = set()
        self._draining = False
        self.idle = asyncio.Event()
        """Set while no job is being run here."""
        self.idle.set()

    def drain(self) -> None:
        """Start nothing more; running graphs stop at their next step."""
        self._draining = True
        for control in self._controls:
            control.request_drain()

    async def run(self, job_id: str) -> None:
        """Claim the job and bring it to its end, or return because another worker has it or the drain began."""
        if self._draining or not (job := await self._claim(job_id)):
            return
        run = Run(job.id, job.session_id, job.fence)
        with bound(jobId=job.id, sessionId=job.session_id, correlationId=job.correlation_id):
            if job.idle_claims > MAX_IDLE_CLAIMS:
                await ledger.abort_job(self._env, run, "crash_loop", "the job made no progress in several tries")
                return
            await self._hold(run, self._advance(job))

    async def _claim(self, job_id: str) -> Job | None:
        # A redelivery may come a moment before the dead worker's lease ends: wait that out once.
        job = await ledger.claim(self._env, job_id)
        if job is None and (current := await jobs.get(self._env, job_id)).ended_at is None:
            await asyncio.sleep(max(0, current.lease_until - now_ms()) / 1000 + 0.05)
            job = await ledger.claim(self._env, job_id)
        return job

    async def _hold(self, run: Run, work: Awaitable[None]) -> None:
        """Keep the lease while `work` goes on; stop it when the lease is lost, release it at the end."""
        working = asyncio.ensure_future(work)
        holding = asyncio.ensure_future(self._renew(run))
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.warning("the job's lease was lost; its work stops here")
        finally:
            for task in (working, holding):
                task.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)
            with contextlib.suppress(PicassoError):
                await ledger.release(self._env, run)
        if not working.cancelled() and (error := working.exception()) and not isinstance(error, LeaseLost):
            raise error

    async def _renew(self, run: Run) -> None:
        while True:
            await asyncio.sleep(self._env.settings.job_lease_seconds / 3)
            with contextlib.suppress(PicassoError):
                if not await ledger.renew(self._env, run):
                    return

    async def _advance(self, job: Job) -> None:
        """Run the graph from where its checkpoints left it, or from the start."""
        config, control = config_for(job), RunControl()
        self._controls.add(control)
        self.idle.clear()
        try:
            begun = (await self._graph.aget_state(config)).next
            start: Any = None if begun else {"job_id": job.id, "open": [], "passes": 0}
            # Nothing hangs on the last checkpoint (the rows tell), and under "sync" LangGraph 1.2 fails in subgraphs
            # that keep none.
            await self._graph.ainvoke(start, config, context=self._env, durability="async", control=control)
        except GraphDrained:
            return
        except PicassoError:
            # The rows are the truth: the next claim starts from them, not from a half-failed graph.
            await self._env.AGENTIC_MEMORIES.adelete_thread(thread_of(job.id))
            raise
        finally:
            self._controls.discard(control)
            if not self._controls:
                self.idle.set()
        await self._env.AGENTIC_MEMORIES.adelete_thread(thread_of(job.id))


async def run(env: Env, settings: Settings, draining: asyncio.Event) -> None:
    """Work until `draining` is set, then let running steps end for at most DRAIN_SECONDS."""
    runner = JobRunner(env)
    if env.DB.dialect == "sqlite":
        await ledger.release_all(env)
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


async def _end(duties: list[asyncio.Task[None]], runner: JobRunner) -> list[Exception]:
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
    """Ask again for every open job that nobody holds: what a crash lost between commit and queue, or Redis forgot.

    Calls of ended jobs that a dead worker left in flight are settled, and old ones to models.
    """
    await ledger.close_lost(env)
    await calls.lose_old(env)
    for job_id in await ledger.open_jobs(env):
        await env.PICASSO_WORKFLOW.enqueue(job_id)


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
