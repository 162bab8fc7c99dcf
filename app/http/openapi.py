"""The OpenAPI document, as JSON only. msgspec describes bodies and responses, so the document states exactly what is
enforced: lengths, patterns, `additionalProperties: false`."""

from collections.abc import Iterator
from typing import Any, Protocol, get_args, get_origin, runtime_checkable

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute

from app.http.errors import CODES
from app.http.hosts import base_path
from app.http.schemas import CLEAN
from app.http.security import access_to, reads_form, reads_image
from app.settings import Settings

Document = dict[str, Any]
PATHS = ["/", "/openapi.json"]
REFERENCE = "#/components/schemas/{name}"
KEY = "apiKey"
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary", "minLength": 1}},
    "required": ["file"],
    "additionalProperties": False,
}
PASSWORD_FORM = {
    "type": "object",
    "properties": {"password": {"type": "string", "minLength": 1, "maxLength": 200}},
    "required": ["password"],
}
FREE = REFERENCE.format(name="FreeJson")
FREE_JSON: Document = {
    "description": "Any JSON; its strings have no control characters.",
    "anyOf": [
        {"type": ["null", "boolean", "number"]},
        {"type": "string", "pattern": CLEAN},
        {"type": "array", "items": {"$ref": FREE}},
        {"type": "object", "propertyNames": {"pattern": CLEAN}, "additionalProperties": {"$ref": FREE}},
    ],
}


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """What went wrong. Programs switch on `code`; `message` is a sentence for people; the server's log has more under
    `correlationId`."""

    code: str
    message: str
    detail: dict[str, Any] | None
    correlation_id: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: Problem


@runtime_checkable
class WithExamples(Protocol):
    """A Struct with examples of its JSON."""

    examples: list[dict[str, Any]]


class _Json(OpenAPIRenderPlugin):
    """Renders the document, once, and serves no page for it."""

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
    """Litestar's configuration of `GET /schema`, which needs no key."""
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
    """The document of all routes, as plain JSON."""
    document = app.openapi_schema.to_schema()
    handlers = [handler for _, _, handler in _operations(app)]
    responses = [ErrorBody, *filter(None, map(_response_type, handlers))]
    bodies = list(filter(None, map(_body_type, handlers)))
    schemas, components = _schemas([*responses, *bodies])
    read = _schemas(bodies)[1]
    components |= {name: _as_read(schema) for name, schema in read.items()} | {"FreeJson": FREE_JSON}
    schemas |= {id(body): _as_read(schemas[id(body)]) for body in bodies}
    for path, method, handler in _operations(app):
        _complete(document["paths"][path][method], handler, schemas, app.state.settings)
    document["servers"] = [{"url": base_path(app.state.settings) or "/"}]
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


def _body_type(handler: HTTPRouteHandler) -> Any:
    return handler.parsed_data_field.annotation if handler.parsed_data_field else None


def _response_type(handler: HTTPRouteHandler) -> Any:
    annotation = handler.parsed_return_field.annotation
    if get_origin(annotation) is Response:
        (annotation,) = get_args(annotation)
    plain = get_origin(annotation) or annotation
    return annotation if isinstance(plain, type) and issubclass(plain, msgspec.Struct | dict | list) else None


def _schemas(types: list[Any]) -> tuple[dict[int, Document], dict[str, Document]]:
    """The schema of each type by its `id()`, and the components that the schemas refer to."""
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    return {id(each): schema for each, schema in zip(types, schemas, strict=True)}, components


def _as_read(schema: Document) -> Document:
    """The schema of request data, with what `schemas.cleaned` requires of every string in it."""
    if not schema:
        return {"$ref": FREE}
    read: Document = {}
    for name, value in schema.items():
        match name, value:
            case "properties", dict():
                read[name] = {field: _as_read(inner) for field, inner in value.items()}
            case (("anyOf" | "oneOf" | "allOf" | "prefixItems"), list()):
                read[name] = [_as_read(inner) for inner in value]
            case (("items" | "additionalProperties"), dict()):
                read[name] = _as_read(value)
            case _:
                read[name] = value
    if schema.get("type") == "string":
        read.setdefault("pattern", CLEAN)
    if schema.get("type") == "object" and "properties" not in schema:
        read["propertyNames"] = {"pattern": CLEAN}
        read.setdefault("additionalProperties", {"$ref": FREE})
    return read


def _complete(operation: Document, handler: HTTPRouteHandler, schemas: dict[int, Document], settings: Settings) -> None:
    """Add to Litestar's description of a handler: bodies, responses, bounds, error statuses, and the key."""
    body, response, access = _body_type(handler), _response_type(handler), access_to(handler)
    needs_key = access == "key" or (access == "read" and settings.reads_need_key)
    statuses = [400, 503]
    if needs_key:
        statuses.append(401)
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        statuses.append(404)
    if handler.parsed_data_field is not None or reads_image(handler) or reads_form(handler):
        statuses += [413, 415]
    if (field := handler.parsed_data_field) is not None:
        parts = [part for part in (body, *get_args(body)) if isinstance(part, WithExamples)]
        examples = [example for part in parts for example in part.examples]
        content: Document = {
            "schema": schemas[id(body)],
            "examples": {f"example{number}": {"value": example} for number, example in enumerate(examples, 1)},
        }
        required = not field.has_default
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    _complete_parameters(operation, handler)
    if reads_image(handler):
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}
    if reads_form(handler):
        content = {"application/x-www-form-urlencoded": {"schema": PASSWORD_FORM}}
        operation["requestBody"] = {"required": True, "content": content}
    success = operation["responses"].get(str(handler.status_code), {})
    if response is not None and "content" in success:
        success["content"] = {"application/json": {"schema": schemas[id(response)]}}
    error = {"application/json": {"schema": schemas[id(ErrorBody)]}}
    for status in statuses:
        if status not in (handler.responses or {}):
            name = CODES.get(status, "not_ready").replace("_", " ")
            operation["responses"][str(status)] = {"description": name, "content": error}
    operation["responses"]["default"] = {"description": "any other error", "content": error}
    operation["security"] = [{KEY: []}] if needs_key else []


def _complete_parameters(operation: Document, handler: HTTPRouteHandler) -> None:
    """A parameter may be left out but never be null, so null leaves its schema; a bound of 0, which Litestar omits,
    is added."""
    bounds: dict[str, float] = {}
    for name, field in handler.parsed_fn_signature.parameters.items():
        if isinstance(declared := field.kwarg_definition, ParameterKwarg) and declared.ge is not None:
            bounds[declared.name or name] = declared.ge
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        types = [each for each in schema.get("oneOf", []) if each != {"type": "null"}]
        if len(types) == 1:
            schema = {**types[0], **{name: value for name, value in schema.items() if name != "oneOf"}}
        if parameter["name"] in bounds:
            schema["minimum"] = bounds[parameter["name"]]
        parameter["schema"] = schema
