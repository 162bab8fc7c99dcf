"""The vendors' own schemas: the false Internet refuses every request of the tests that they do not hold for."""

from pathlib import Path
from typing import Any

import pytest

from adapters.provider import ImageOp
from app.bindings.ai.registry import open_ai
from tests.support.environment import bare_env, settings
from tests.support.files.images import encoded, textured
from tests.support.files.small_images import as_input
from tests.support.image_calls import call_provider
from tests.support.internet import Wire
from tests.support.vendors import gemini, openai, openai_chat, workers
from tools.models.catalog import image_models, offered

PHOENIX = "@cf/leonardo/phoenix-1.0"
WORDS = {"contents": [{"parts": [{"text": "a fox"}]}]}


async def deaf(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


@pytest.mark.parametrize("fields", [{"num_steps": 99}, {"seed": -1}, {"width": "1024"}, {"cfg": 7}, {"prompt": ""}])
def test_cloudflares_schema_refuses_what_it_does_not_allow(fields: dict[str, Any]) -> None:
    """Limits, types and names of fields."""
    body = {"prompt": "a fox", "width": 1024, "height": 1024, "num_steps": 25, "seed": 7}
    workers.held_against_schema(PHOENIX, body)
    with pytest.raises(workers.Wrong):
        workers.held_against_schema(PHOENIX, {**body, **fields})


def test_every_model_of_workers_ai_that_takes_json_has_its_schema() -> None:
    """None is sent a request that nothing was held against."""
    assert workers.SCHEMAS.keys() == {m.id for m in image_models("workers") if m.wire["request"] == "json"}


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [{"parts": [{"txt": "a fox"}]}]},
        {**WORDS, "generationConfig": {"imageConfig": {"ratio": "1:1"}}},
        {**WORDS, "generationConfig": {"maxOutputTokens": "many"}},
        {**WORDS, "mask": "AAAA"},
    ],
)
def test_googles_types_refuse_what_they_do_not_know(body: dict[str, Any]) -> None:
    """Unknown fields, at every depth, and wrong types."""
    gemini.held_against_types({**WORDS, "generationConfig": {"imageConfig": {"aspectRatio": "1:1"}}})
    with pytest.raises(ValueError, match="validation error"):
        gemini.held_against_types(body)


@pytest.mark.parametrize("fields", [{"quality": "bogus"}, {"n": 99}, {"partial_images": 7}, {"seed": 7}])
def test_openais_specification_refuses_what_it_does_not_allow(fields: dict[str, Any]) -> None:
    """Words, limits and names of fields; of chats the names and the types that its SDK knows."""
    openai.held_against("CreateImageRequest", {"prompt": "a fox", "model": "gpt-image-2"})
    with pytest.raises(openai.Wrong):
        openai.held_against("CreateImageRequest", {"prompt": "a fox", "model": "gpt-image-2", **fields})
    assert openai_chat.unknown_fields({"model": "m", "messages": [], "stream": True, "top_k": 7}) == ["top_k"]
    words = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a fox"}]}]}
    assert openai_chat.first_wrong_type(openai_chat.chat_params(False), words) is None
    for wrong in (
        {"messages": [{"role": "user", "content": [{"type": "txt", "text": "a fox"}]}]},
        {"messages": [{"role": "painter", "content": "a fox"}]},
        {"max_completion_tokens": "7"},
        {"tools": [{"type": "function", "function": {"title": "paint"}}]},
    ):
        assert openai_chat.first_wrong_type(openai_chat.chat_params(False), {**words, **wrong}), wrong


async def test_the_specification_holds_also_where_nothing_is_streamed(tmp_path: Path) -> None:
    """As behind a base URL of the user's own: for every model, from words and from an image."""
    start = as_input(encoded(textured(300, 200), "PNG"))
    async with Wire() as wire:
        own = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{wire.url}/openai/v1", "OPENAI_STREAM": "false"}
        chosen = settings(tmp_path, **own)
        async with open_ai(chosen) as ai, bare_env(tmp_path, settings=chosen, AI=ai) as env:
            for model in offered("openai"):
                words = ImageOp(kind="generate", prompt="a fox", model=model.id, quality="high")
                edit = ImageOp(kind="edit", prompt="a fox", model=model.id, start_image=start, references=(start,))
                for op in (words, edit):
                    await call_provider("openai", op, env, deaf)
        assert all(call.sent and "stream" not in call.body for call in wire.calls)
