"""Workflows: submit a task for the reasoning model, and read its progress and result."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.http.schemas import PROSE, Body, Id
from app.http.security import limit_jobs
from app.routes.jobs import idempotency_key
from app.settings import Settings
from tools.env import Env
from tools.ledger import workflows
from tools.ledger.workflows import STEPS, Status, WorkflowError, WorkflowRow

StepStatus = Literal["queued", "running", "complete", "failed", "uncertain", "skipped"]


class NewWorkflow(Body, frozen=True):
    """A task for the reasoning model. `userId` is any id by which you know the user who gave it."""

    examples = [{"userId": "ada", "task": "Write a brief for three posters of a red boat at dawn, without text."}]
    user_id: Id
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=8000, pattern=PROSE)]


class StepView(msgspec.Struct, frozen=True):
    """A step of a workflow; `skipped` are those after the one that failed."""

    name: workflows.Step
    status: StepStatus


class WorkflowAccepted(msgspec.Struct, frozen=True, rename="camel"):
    """A workflow that was accepted, with its steps in order."""

    workflow_id: str
    user_id: str
    status: Literal["queued"]
    steps: list[StepView]
    created_at: int


class WorkflowView(msgspec.Struct, frozen=True, rename="camel"):
    """A workflow. `result` is set once `store-result` is complete; `error` tells why a workflow ended without one."""

    workflow_id: str
    user_id: str
    task: str
    status: Status
    steps: list[StepView]
    result: str | None
    error: WorkflowError | None
    created_at: int
    started_at: int | None
    ended_at: int | None


@post("/api/workflows", status_code=202, operation_id="submitWorkflow", tags=["workflows"])
async def submit_workflow(
    request: Request[Any, Any, Any],
    data: JSONBody[NewWorkflow],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[WorkflowAccepted]:
    """Accept a task; the model is called after the response. Idempotency-Keys are separate for each `userId`."""
    await limit_jobs(request, env, settings)
    key = idempotency_key(request.headers.getall("idempotency-key", []))
    row, replayed = await workflows.submit(env, data.user_id, data.task, key)
    queued = [StepView(name, "queued") for name in STEPS]
    body = WorkflowAccepted(row.id, row.user_id, "queued", queued, row.created_at)
    return Response(body, status_code=202, headers={"Idempotency-Replayed": "true"} if replayed else {})


@get("/api/workflows/{workflow_id:str}", operation_id="getWorkflow", opt={"access": "read"}, tags=["workflows"])
async def get_workflow(workflow_id: FromPath[str], env: NamedDependency[Env]) -> WorkflowView:
    """The workflow with its steps in order, and its result or error."""
    row = await workflows.get(env, workflow_id)
    return WorkflowView(
        workflow_id=row.id,
        user_id=row.user_id,
        task=row.task,
        status=row.status,
        steps=steps_of(row),
        result=await workflows.result(env, row),
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def steps_of(row: WorkflowRow) -> list[StepView]:
    """Finished steps are complete, the next one has the workflow's status, later ones are queued or skipped."""
    done: list[StepStatus] = ["complete"] * row.steps_done
    rest: list[StepStatus] = ["queued" if row.ended_at is None else "skipped"] * len(STEPS)
    return [StepView(name, status) for name, status in zip(STEPS, [*done, row.status, *rest], strict=False)]


handlers = [submit_workflow, get_workflow]
