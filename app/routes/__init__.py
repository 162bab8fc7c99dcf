"""The URL table: every module of this room states its `handlers`."""

from litestar.types import ControllerRouterHandler

from app.routes import admin

handlers: list[ControllerRouterHandler] = [*admin.handlers]
