"""What a person is told to do about a vendor's no."""

import pytest

from tools.models import catalog
from tools.models.explanations import explain


@pytest.mark.parametrize(
    ("provider", "model", "code", "status", "said"),
    [
        ("openai", "gpt-image-2", "organization_not_verified", 403, "only verified organisations"),
        ("workers", "@cf/meta/llama-3.2-11b-vision-instruct", "5016", 403, "licence of @cf/meta"),
        ("openai", "gpt-image-1.5", "model_not_found", 404, ": use gpt-image-2.6-sunburst"),
        ("openai", "gpt-image-1.5", None, 404, ": use gpt-image-2.6-sunburst"),
        ("openai", "gpt-image-1", "model_not_found", 400, ": use gpt-image-2"),
        ("openai", "gpt-4.1-mini", None, 404, ": use gpt-6-luna"),
        ("gemini", "gemini-3.1-flash-image", "NOT_FOUND", 404, ": use gemini-nano-banana-2.1"),
        ("gemini", "gemini-3.5-flash", "NOT_FOUND", 404, ": use gemini-3.6-flash"),
        ("workers", "@cf/gone", "5007", 400, ": use @cf/black-forest-labs/flux-2-klein-4b"),
    ],
)
def test_a_no_that_can_be_mended_says_how(provider: str, model: str, code: str | None, status: int, said: str) -> None:
    """By the vendor's code or, where it has none, by its status."""
    assert said in (explain(provider, model, code, status) or "")


def test_what_nobody_knows_is_not_made_up() -> None:
    """No successor is named that is not known, nor the model that is gone; other refusals are left to their class."""
    assert explain("flux", "schnell", None, 404) == "flux has no model schnell (any more)"
    assert explain("openai", "gpt-image-2", None, 404) == "openai has no model gpt-image-2 (any more)"
    assert [explain("openai", "gpt-image-2", code, status) for code, status in ((None, 400), ("x", 403))] == [None] * 2


def test_every_successor_is_a_model_that_lives() -> None:
    """Nobody is sent from one closed door to another."""
    known = catalog.catalog()
    for models in (known.image, known.chat):
        living = {model.id for model in models if model.retires is None and model.successor is None}
        assert {model.successor for model in models if model.successor} <= living
