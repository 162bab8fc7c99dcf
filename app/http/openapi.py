"""The OpenAPI document, as JSON only. Bodies and answers are described by msgspec, so what stands there is what is
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
    code: str
    message: str
    detail: dict[str, Any] | None
    correlation_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Every refusal, by every door."""

    error: Problem


@runtime_checkable
class WithExamples(Protocol):
    """A Struct that shows how it is used."""

    examples: list[dict[str, Any]]


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
    handlers = [handler for _, _, handler in _operations(app)]
    answers = [ErrorAnswer, *filter(None, map(_answer_type, handlers))]
    bodies = list(filter(None, map(_body_type, handlers)))
    schemas, components = _schemas([*answers, *bodies])
    read = _schemas(bodies)[1]
    components |= {name: _as_read(schema) for name, schema in read.items()} | {"FreeJson": FREE_JSON}
    schemas |= {id(body): _as_read(schemas[id(body)]) for body in bodies}
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


def _as_read(schema: Document) -> Document:
    """The schema of something that is read, with what `schemas.cleaned` asks of every string in it."""
    if not schema:
        return {"$ref": FREE}
    read = {name: _deeper(name, value) for name, value in schema.items()}
    if schema.get("type") == "string":
        read.setdefault("pattern", CLEAN)
    if schema.get("type") == "object" and "properties" not in schema:
        read["propertyNames"] = {"pattern": CLEAN}
        read.setdefault("additionalProperties", {"$ref": FREE})
    return read


def _as_sent(schema: Document) -> Document:
    """The schema of a parameter: it may be left out, but there is no way to send null."""
    present = [each for each in schema.get("oneOf", []) if each != {"type": "null"}]
    if len(present) != 1:
        return schema
    return {**present[0], **{name: value for name, value in schema.items() if name != "oneOf"}}


def _bounds(handler: HTTPRouteHandler) -> Iterator[tuple[str, float]]:
    """The lower bounds of a handler's parameters, by the names that a client uses."""
    for name, field in handler.parsed_fn_signature.parameters.items():
        if isinstance(stated := field.kwarg_definition, ParameterKwarg) and stated.ge is not None:
            yield stated.name or name, stated.ge


def _deeper(name: str, value: Any) -> Any:
    if name == "properties":
        return {field: _as_read(schema) for field, schema in value.items()}
    if name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        return [_as_read(schema) for schema in value]
    return _as_read(value) if name in ("items", "additionalProperties") and isinstance(value, dict) else value


def _complete(operation: Document, handler: HTTPRouteHandler, schemas: dict[int, Document], settings: Settings) -> None:
    body, answer = _body_type(handler), _answer_type(handler)
    if (field := handler.parsed_data_field) is not None:
        content = {"schema": schemas[id(body)], "examples": _examples(body)}
        required = not field.has_default
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    _complete_parameters(operation, handler)
    if reads_image(handler):
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}
    if reads_form(handler):
        content = {"application/x-www-form-urlencoded": {"schema": PASSWORD_FORM}}
        operation["requestBody"] = {"required": True, "content": content}
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


def _complete_parameters(operation: Document, handler: HTTPRouteHandler) -> None:
    bounds = dict(_bounds(handler))
    for parameter in operation.get("parameters", []):
        schema = _as_sent(parameter["schema"])
        if parameter["name"] in bounds:
            # Litestar leaves out a bound of zero.
            schema["minimum"] = bounds[parameter["name"]]
        parameter["schema"] = schema


def _examples(body: Any) -> Document:
    parts = [part for part in (body, *get_args(body)) if isinstance(part, WithExamples)]
    examples = [example for part in parts for example in part.examples]
    return {f"example{number}": {"value": example} for number, example in enumerate(examples, 1)}


def _refusals(operation: Document, handler: HTTPRouteHandler, settings: Settings) -> list[int]:
    refusals = [400, 503]
    if _needs_key(handler, settings):
        refusals.append(401)
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        refusals.append(404)
    if handler.parsed_data_field is not None or reads_image(handler) or reads_form(handler):
        refusals += [413, 415]
    return refusals


def _needs_key(handler: HTTPRouteHandler, settings: Settings) -> bool:
    access = access_to(handler)
    return access == "key" or (access == "read" and settings.reads_need_key)
