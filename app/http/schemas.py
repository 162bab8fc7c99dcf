"""Request bodies and shared parameter types. Bodies are camelCase Structs that refuse unknown fields.

Every JSON string is trimmed and NFC-normalised before it is validated, `\\r\\n` becomes `\\n`, and control characters
are refused (fields with the pattern PROSE allow `\\n` and `\\t`), so a Struct's lengths and patterns hold for what is
stored.
"""

import re
import unicodedata
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from litestar import Request
from litestar.params import QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from app.http.rules import explained, pattern
from tools.errors import Invalid
from tools.pages import MAX_LIMIT
from tools.rows import Kind

T = TypeVar("T")
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE, _PROSE = "\\u0000-\\u001f\\u007f-\\u009f", "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f"
CLEAN = pattern(f"^[^{_PROSE}]*$", "without control characters")
"""Pattern of any accepted string."""
LINE = pattern(f"^[^{_LINE}]*[^\\s{_LINE}][^{_LINE}]*$", "in one line that is not blank, without control characters")
"""Pattern of one line of text that is not blank."""
PROSE = pattern(f"^[^{_PROSE}]*[^\\s{_PROSE}][^{_PROSE}]*$", "that is not blank, without control characters")
"""Pattern of text that is not blank and may have line breaks and tabs: prompts, tips, chat."""

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]
Description = Annotated[str, Meta(max_length=4000, pattern=CLEAN)]
Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[A-Za-z0-9._:-]+$")]

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="the most items that one page may have")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=512, format="cursor", description="`nextCursor` of the previous page"),
]
OfProject = Annotated[
    str | None,
    QueryParameter(name="projectId", max_length=64, pattern=CLEAN, description="only those of this project"),
]


class Body(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Base of every request body. `examples` appear in the OpenAPI document, and a test sends each of them."""

    examples: ClassVar[list[dict[str, Any]]] = []


class NewProject(Body, frozen=True):
    """A project to create."""

    examples = [{"name": "Autumn campaign", "description": "Posters for the October launch"}]
    name: Name
    description: Description | None = None


class ProjectPatch(Body, frozen=True):
    """Fields that are left out stay as they are; `null` clears them."""

    examples = [{"name": "Autumn campaign 2", "budgetUsd": 25.5}]
    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    budget_usd: Dollars | UnsetType | None = UNSET


class Rollback(Body, frozen=True):
    """The image to continue from: `original` is the one that this step made, `start` the one it was made from."""

    examples = [{"base": "original"}]
    base: Literal["original", "start"] = "original"


class NewTip(Body, frozen=True):
    """Advice on prompting a provider; without `kinds` it applies to every kind of operation."""

    examples = [{"tip": "Name the light: its direction, hardness and colour.", "kinds": ["generate"]}]
    tip: Annotated[str, Meta(min_length=1, max_length=2000, pattern=PROSE)]
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=6)] | None = None


class JsonRequest(Request[Any, Any, Any]):
    """A request whose JSON is cleaned and strictly converted to the type of the handler's `data` parameter."""

    async def json(self) -> Any:
        """The body. Fails: Invalid (400)."""
        try:
            value = cleaned(msgspec.json.decode(await self.body()))
        except msgspec.DecodeError:
            raise Invalid("the body is not valid JSON", code="malformed_json", status=400) from None
        field = self.route_handler.parsed_data_field
        return value if field is None else converted(value, field.raw)


def converted(value: object, wanted: type[T]) -> T:
    """The decoded JSON as the wanted type, without coercion.

    Fails: Invalid (400) naming the field's path and never its value.
    """
    try:
        return msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).rpartition(" - at ") if " - at `" in str(error) else (str(error), "", "$")
        problem, field = (
            explained(problem, wanted, path.strip("`")),
            path.strip("`").removeprefix("$").removeprefix("."),
        )
        if (named := re.search(r"(?:required|unknown) field `([^`]{1,64})`", problem)) is not None:
            field = f"{field}.{named[1]}" if field else named[1]
        raise invalid(field, problem) from None


def invalid(field: str, problem: str) -> Invalid:
    """The error for one field of a request; an empty path means the body itself."""
    detail = {"errors": [{"field": field or "body", "problem": problem}]}
    return Invalid(f"not valid: {field or 'body'}", code="invalid_request", detail=detail, status=400)


def cleaned(value: Any) -> Any:
    """The decoded JSON with its strings trimmed and in NFC.

    Fails: Invalid (400) naming the path of a string with control characters.
    """
    try:
        return _cleaned(value)
    except _UncleanText as unclean:
        field = "".join(reversed(unclean.path)).removeprefix(".")
        raise invalid(field, unclean.problem) from None


class _UncleanText(Exception):
    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem, self.path = problem, list[str]()


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _clean_text(value)
        case dict():
            return {_clean_text(key): _cleaned_at(f".{key[:64]}", item) for key, item in value.items()}
        case list():
            return [
                _cleaned_at(i, item) if isinstance(item, str | dict | list) else item for i, item in enumerate(value)
            ]
    return value


def _cleaned_at(step: str | int, value: Any) -> Any:
    try:
        return _cleaned(value)
    except _UncleanText as unclean:
        unclean.path.append(step if isinstance(step, str) else f"[{step}]")
        raise


def _clean_text(text: str) -> str:
    text = text.replace("\r\n", "\n")
    if CONTROL.search(text):
        raise _UncleanText("Expected `str` without control characters")
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()
