"""Generators are found, named and given their options in the same way, built-in or plugin."""

import msgspec
import pytest

from generators import registry
from generators.pages import lookbook
from tools.errors import Invalid, NotFound


def test_a_module_with_a_generator_is_found_and_other_modules_are_not() -> None:
    """`generators/pages/lookbook.py` is listed under its id; contract, registry and shared modules are not."""
    assert registry.known()["lookbook"] is lookbook.generator
    assert {"generator", "registry", "page", "palette"}.isdisjoint(registry.known())


@pytest.mark.parametrize("spelling", ["lookbook", "Lookbook"])
def test_both_spellings_of_an_id_lead_to_it(spelling: str) -> None:
    """The camelCase alias names the same generator as the id."""
    assert registry.find(spelling) is lookbook.generator


def test_an_unknown_id_is_answered_with_those_that_exist() -> None:
    """404 with the known ids, for a program and for a person."""
    with pytest.raises(NotFound) as caught:
        registry.find("tinyZine")
    assert caught.value.detail == {"known": list(registry.known())}
    assert "lookbook" in caught.value.message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"only": "some"}, "options.only"),
        ({"intro": "x" * 2001}, "options.intro"),
        ({"progressionIds": [7]}, "options.progressionIds[0]"),
        ({"colour": "teal"}, "options.colour"),
    ],
)
def test_options_are_refused_by_the_path_of_the_field(options: dict[str, object], field: str) -> None:
    """400 that names the field and repeats nothing of its value."""
    with pytest.raises(Invalid) as caught:
        registry.decode_options(lookbook.generator, options)
    assert caught.value.status == 400
    assert caught.value.detail is not None
    assert caught.value.detail["errors"][0]["field"] == field
    assert "some" not in str(caught.value.detail)


def test_the_schema_of_the_options_says_what_the_decoder_does() -> None:
    """JSON Schema that a front end can draw a form from: names in camelCase, unknown ones refused."""
    schema = registry.options_schema(lookbook.generator)
    assert msgspec.json.encode(schema)
    options = schema["$defs"]["LookbookOptions"]
    choice = {"only", "order", "progressionIds", "cover"}
    assert set(options["properties"]) == {"intro", "theme", "showVerdicts", "showCosts"} | choice
    assert options["additionalProperties"] is False
    assert options["description"].startswith("`intro` stands") and "\n" not in options["description"]
