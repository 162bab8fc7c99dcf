"""The URL table: every module of this room states its `handlers`."""

from litestar.types import ControllerRouterHandler

from app.routes import (
    admin,
    artifacts,
    boards,
    chat,
    console,
    docs,
    images,
    jobs,
    originals,
    progressions,
    projects,
    public,
    shares,
    stream,
    templates,
    uploads,
    workflows,
)

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
