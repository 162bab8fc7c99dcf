"""The options of a generator as fields that are filled with texts, as a chat fills the placeholders of a template."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import inspect

from generators import registry
from generators.generator import Generator
from tools.db import Chosen
from tools.errors import Invalid
from tools.rows import ArtifactRow

FLAGS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
SEPARATOR = re.compile(r"\s*[;\n]\s*")
"""Between the texts of a list."""
TITLE = "TITLE"
"""The field of the artifact's title."""
IMAGES = "IMAGES"
"""The field of the images to show and their order: their ids, with commas between them."""


class Field(msgspec.Struct, frozen=True):
    """An option under the name of a placeholder; `choices` are all the values that it takes, where they are few."""

    key: str
    option: str
    kind: Literal["text", "number", "list", "image", "images"]
    choices: tuple[str, ...] = ()


def fields_of(generator: Generator[Any]) -> dict[str, Field]:
    """The fields by key, in the order of the options; an option that no text can give is left out."""
    known = inspect.type_info(generator.options)
    assert isinstance(known, inspect.StructType)
    found = (_field(each.encode_name, each.type) for each in known.fields)
    return {field.key: field for field in found if field is not None}


def texts_of(fields: Mapping[str, Field], options: Mapping[str, Any]) -> dict[str, str]:
    """The options as texts by key, empty where one is not given."""
    return {key: _text(field, options.get(field.option)) for key, field in fields.items()}


def with_texts(generator: Generator[Any], options: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The options with those that the texts give instead; an empty text gives the default.

    Fails: Invalid naming the first option whose text is not one that it takes.
    """
    fields, wanted = fields_of(generator), dict(options)
    for key, text in texts.items():
        if (field := fields.get(key)) is None:
            continue
        wanted.pop(field.option, None)
        if text:
            wanted[field.option] = _value(field, text)
            try:
                registry.decode_options(generator, {field.option: wanted[field.option]})
            except Invalid as error:
                detail = (error.detail or {}).get("errors", [{}])[0]
                problem = str(detail.get("problem", "not a value of this option"))
                raise Invalid(f"{field.option}: {problem}", code="invalid_option") from error
    return wanted


def standing_texts(artifact: ArtifactRow) -> dict[str, str]:
    """What a generator's artifact is made with until something else is chosen; nothing for a template."""
    if artifact.generator_id is None:
        return {}
    fields = fields_of(registry.find(artifact.generator_id))
    return {TITLE: artifact.title, **texts_of(fields, artifact.options)}


def as_chosen(artifact: ArtifactRow, chosen: Mapping[str, Chosen]) -> ArtifactRow:
    """A generator's artifact with the title and options that were chosen.

    Fails: Invalid when a later release of the generator does not take one of them.
    """
    texts = {key: one.value for key, one in chosen.items()}
    options = with_texts(registry.find(str(artifact.generator_id)), artifact.options, texts)
    return msgspec.structs.replace(artifact, title=texts.get(TITLE) or artifact.title, options=options)


def _field(option: str, kind: inspect.Type) -> Field | None:
    key = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", option).upper()
    if isinstance(kind, inspect.UnionType):
        # What may be left out is the same without its null.
        (kind, *others) = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if others:
            return None
    match kind:
        case inspect.ListType() if option == "progressionIds":
            return Field(IMAGES, option, "images")
        case inspect.ListType(item_type=inspect.StrType()):
            return Field(key, option, "list")
        case inspect.StrType() if option == "progressionId":
            return Field("IMAGE", option, "image")
        case inspect.BoolType():
            return Field(key, option, "text", ("yes", "no"))
        case inspect.LiteralType(values=values):
            return Field(key, option, "text", tuple(map(str, values)))
        case inspect.IntType() | inspect.FloatType():
            return Field(key, option, "number")
        case inspect.StrType():
            return Field(key, option, "text")
    return None


def _text(field: Field, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ("," if field.kind == "images" else "; ").join(map(str, value))
    return str(value)


def _value(field: Field, text: str) -> Any:
    if field.kind == "images":
        return text.split(",")
    if field.kind == "list":
        return SEPARATOR.split(text.strip())
    if field.choices:
        chosen = next((choice for choice in field.choices if choice.lower() == text.strip().lower()), None)
        if field.choices == ("yes", "no"):
            return FLAGS.get(text.strip().lower(), text)
        return chosen or text
    if field.kind == "number" and re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", text.strip()):
        number = float(text)
        return int(number) if number.is_integer() else number
    return text
