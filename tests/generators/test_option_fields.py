"""The options of generators as texts: what a chat may fill, and that nothing else comes through."""

import pytest

from generators import registry
from generators.option_fields import fields_of, texts_of, with_texts
from tools.errors import Invalid


@pytest.mark.parametrize("id", list(registry.known()))
def test_every_option_can_be_given_as_a_text(id: str) -> None:
    """Each option of each generator has a field, and the texts of valid options give the same options again."""
    generator = registry.find(id)
    fields = fields_of(generator)
    known = registry.options_schema(generator)["$defs"][generator.options.__name__]["properties"]
    assert {field.option for field in fields.values()} == set(known)
    for field in fields.values():
        for text in field.choices or {"number": ("3",), "list": ("a; b",)}.get(field.kind, ("abc",)):
            options = with_texts(generator, {}, {field.key: text})
            assert texts_of(fields, options)[field.key] == text
            assert with_texts(generator, options, {field.key: ""}) == {}


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        ({"SECONDS": "4", "AUTOPLAY": "Yes", "INTRO": "Hello"}, {"seconds": 4, "autoplay": True, "intro": "Hello"}),
        ({"IMAGES": "b,a"}, {"progressionIds": ["b", "a"], "seconds": 9}),
        ({"CAPTIONS": "one; two\nthree"}, {"captions": ["one", "two", "three"], "seconds": 9}),
        ({"SECONDS": ""}, {}),
        ({"UNKNOWN": "x"}, {"seconds": 9}),
    ],
)
def test_texts_become_options(texts: dict[str, str], options: dict[str, object]) -> None:
    """What is not given stays, an empty text is the default, and what is no option is ignored."""
    assert with_texts(registry.find("slideshow"), {"seconds": 9}, texts) == options


@pytest.mark.parametrize(
    "texts", [{"SECONDS": "many"}, {"SECONDS": "1"}, {"AUTOPLAY": "perhaps"}, {"ONLY": "best"}, {"INTRO": "x" * 2001}]
)
def test_a_text_that_is_no_value_is_refused_with_the_options_name(texts: dict[str, str]) -> None:
    """The generator's own rules hold."""
    with pytest.raises(Invalid, match=next(iter(texts)).lower()) as refused:
        with_texts(registry.find("slideshow"), {}, texts)
    assert refused.value.code == "invalid_option"
