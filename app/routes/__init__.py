"""The URL table: every module of this room states its `handlers`."""

from litestar.types import ControllerRouterHandler

from app.routes import admin, progressions, projects

handlers: list[ControllerRouterHandler] = [
    *projects.handlers,
    *progressions.handlers,
    *admin.handlers,
]
