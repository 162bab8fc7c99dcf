"""The OpenAPI document, as JSON only. Bodies and answers are described by msgspec, so what stands there is what is
enforced: lengths, patterns, `additionalProperties: false`."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.routes import HTTPRoute

from app.errors import CODES
from app.schemas import Body
from app.security import access_to, reads_image
from app.settings import Settings

PATHS = ["/", "/openapi.json"]
REFERENCE = "#/components/schemas/{name}"
KEY = "apiKey"
FORM = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
Document = dict[str, Any]


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    code: str
    message: str
    detail: dict[str, Any] | None
    correlation_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Every refusal, by every door."""

    error: Problem


class _Json(OpenAPIRenderPlugin):
    """Renders the document once and serves nothing beside it."""

    def __init__(self) -> None:
        super().__init__(path=PATHS, media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._rendered is None:
            self._rendered = msgspec.json.encode(describe(request.app))
        return self._rendered

    def receive_router(self, router: Router) -> None:
        """Drop Litestar's HTML page for unknown paths below /schema: they get the one error shape."""
        router.routes[:] = [route for route in router.routes if "{" not in route.path]


def openapi_config() -> OpenAPIConfig:
    router = Router("/schema", route_handlers=[], include_in_schema=False, opt={"access": "open"})
    return OpenAPIConfig(
        title="picasso",
        version="1",
        description="Make images with several AI vendors at once: one job fans out, every image is judged, "
        "versioned and shared.",
        use_handler_docstrings=True,
        openapi_router=router,
        render_plugins=[_Json()],
    )


def describe(app: Litestar) -> Document:
    """The document of all routes."""
    document = app.openapi_schema.to_schema()
    wanted = [ErrorAnswer, *(each for _, _, handler in _operations(app) for each in _types(handler))]
    schemas, components = _schemas(wanted)
    for path, method, handler in _operations(app):
        _complete(document["paths"][path][method], handler, schemas, app.state.settings)
    document["components"] = {
        "schemas": {**document["components"].get("schemas", {}), **components},
        "securitySchemes": {KEY: {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
    }
    return document


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.resolve_include_in_schema():
                    for method in handler.http_methods:
                        yield route.path_format, method.lower(), handler


def _types(handler: HTTPRouteHandler) -> Iterator[Any]:
    """What the handler reads as JSON and what it answers, where msgspec can describe it."""
    if (body := _body_type(handler)) is not None:
        yield body
    if (answer := _answer_type(handler)) is not None:
        yield answer


def _body_type(handler: HTTPRouteHandler) -> Any:
    return handler.parsed_data_field.annotation if handler.parsed_data_field else None


def _answer_type(handler: HTTPRouteHandler) -> Any:
    annotation = handler.parsed_return_field.annotation
    if get_origin(annotation) is Response:
        (annotation,) = get_args(annotation)
    plain = get_origin(annotation) or annotation
    return annotation if isinstance(plain, type) and issubclass(plain, msgspec.Struct | dict | list) else None


def _schemas(types: list[Any]) -> tuple[dict[int, Document], dict[str, Document]]:
    """The schema of each type by its identity, and the components that they refer to."""
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    return {id(each): schema for each, schema in zip(types, schemas, strict=True)}, components


def _complete(operation: Document, handler: HTTPRouteHandler, schemas: dict[int, Document], settings: Settings) -> None:
    body, answer = _body_type(handler), _answer_type(handler)
    if body is not None:
        content = {"schema": schemas[id(body)], "examples": _examples(body)}
        operation["requestBody"]["content"] = {"application/json": content}
    if reads_image(handler):
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}
    success = operation["responses"].get(str(handler.status_code), {})
    if answer is not None and "content" in success:
        success["content"] = {"application/json": {"schema": schemas[id(answer)]}}
    refusal = {"application/json": {"schema": schemas[id(ErrorAnswer)]}}
    for status in _refusals(operation, handler, settings):
        if status not in (handler.responses or {}):
            name = CODES.get(status, "not_ready").replace("_", " ")
            operation["responses"][str(status)] = {"description": name, "content": refusal}
    operation["responses"]["default"] = {"description": "any other refusal", "content": refusal}
    operation["security"] = [{KEY: []}] if _needs_key(handler, settings) else []


def _examples(body: Any) -> Document:
    parts = [part for part in (body, *get_args(body)) if isinstance(part, type) and issubclass(part, Body)]
    examples = [example for part in parts for example in part.examples]
    return {f"example{number}": {"value": example} for number, example in enumerate(examples, 1)}


def _refusals(operation: Document, handler: HTTPRouteHandler, settings: Settings) -> list[int]:
    refusals = [400, 503]
    if _needs_key(handler, settings):
        refusals.append(401)
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        refusals.append(404)
    if handler.parsed_data_field is not None or reads_image(handler):
        refusals += [413, 415]
    return refusals


def _needs_key(handler: HTTPRouteHandler, settings: Settings) -> bool:
    access = access_to(handler)
    return access == "key" or (access == "read" and settings.reads_need_key)
