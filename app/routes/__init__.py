"""The URL table: every module of this room with routes states its `handlers`; `…_views.py` shape answers."""

from litestar.types import ControllerRouterHandler

from app.routes import (
    admin,
    console,
    docs,
    images,
    jobs,
    originals,
    progressions,
    projects,
    stream,
    uploads,
    workflows,
)
from app.routes.artifacts import artifacts, boards, chat, public, shares, templates

handlers: list[ControllerRouterHandler] = [
    *projects.handlers,
    *progressions.handlers,
    *uploads.handlers,
    *jobs.handlers,
    *originals.handlers,
    *workflows.handlers,
    *stream.handlers,
    *artifacts.handlers,
    *chat.handlers,
    *templates.handlers,
    *shares.handlers,
    *public.handlers,
    *boards.handlers,
    *images.handlers,
    *docs.handlers,
    *console.handlers,
    *admin.handlers,
]
