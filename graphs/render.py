"""Making one version of an artifact as background work, and deciding how a render ends.

A crash repeats the rendering; publishing the version and ending the row are one transaction, so that happens once.
"""

import functools
import logging
from typing import Any

import msgspec

from graphs.heartbeat import heartbeat
from tools.db import get_project
from tools.env import Env
from tools.errors import LeaseLost, PicassoError, Unavailable
from tools.ledger.leases import Lease
from tools.publishing import artifacts, renders
from tools.publishing.renders import Maker, RenderRow
from tools.rows import ArtifactRow

log = logging.getLogger("picasso.renders")

OURS = PicassoError("something went wrong on our side; the log has it under this correlation id")


async def run(env: Env, render: RenderRow, generator: Maker, options: Any) -> None:
    """Make what the claimed render asks for and publish it, or end it with the reason why not.

    Fails: Unavailable, for a later claim to try again · LeaseLost.
    """
    lease = Lease(render.id, render.fence)
    artifact = as_requested(await artifacts.get(env, render.artifact_id), render)
    projects = [await get_project(env, id) for id in render.project_ids]
    try:
        with renders.reporting(env, lease):
            async with heartbeat(functools.partial(renders.tick, env, lease)):
                await renders.report_progress("collect", 0.0)
                output = await generator.generate(env, artifact, projects, options)
                await renders.report_progress("publish", 0.0)
                await renders.publish(env, lease, artifact, output, render)
    except (Unavailable, LeaseLost):
        raise
    except PicassoError as error:
        await renders.fail(env, lease, error)
    except Exception as error:
        # A generator may be anybody's, and it would fail the same way again: that must not hold up other renders.
        log.error("a generator failed unexpectedly", exc_info=error)
        await renders.fail(env, lease, OURS)


def as_requested(artifact: ArtifactRow, render: RenderRow) -> ArtifactRow:
    """The artifact with the title and options of the request. One that was unpublished after the request stays so."""
    gone = artifact.unpublished_at
    before_request = gone if gone is None or gone < render.created_at else None
    return msgspec.structs.replace(artifact, title=render.title, options=render.options, unpublished_at=before_request)
