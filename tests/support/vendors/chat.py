"""What the simulated chat models share: reading the request, choosing the answer, counting tokens."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.internet import Answer

IMAGE_TOKENS = 258
PASS = {
    "judgment": "pass",
    "notes": ["The boat reads well."],
    "tags": ["boat", "red"],
    "criteria": [{"requirement": "a red boat", "met": True, "evidence": "a red boat in the middle"}],
    "retrySuggestion": "",
}
FAIL = {
    "judgment": "fail",
    "notes": ["The boat is blue."],
    "tags": ["boat", "blue"],
    "criteria": [
        {"requirement": "a boat", "met": True, "evidence": "a boat in the middle"},
        {"requirement": "the boat is red", "met": False, "evidence": "its hull is blue"},
    ],
    "retrySuggestion": "Paint the hull of the boat red.",
}


@dataclass
class Usage:
    read: int
    written: int

    def cost(self, read_rate: float, write_rate: float) -> float:
        """The cost in USD; the rates are per million tokens."""
        return (self.read * read_rate + self.written * write_rate) / 1e6

    def openai(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.read,
            "completion_tokens": self.written,
            "total_tokens": self.read + self.written,
        }


def question(messages: Iterable[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Texts and image addresses of OpenAI's messages, in order."""
    parts = list(_parts(messages))
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return texts, [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _parts(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message["content"] or ""
        yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


def said(answer: Answer, texts: list[str]) -> str:
    """The model's answer: the scripted one, nonsense for `garbage`, a verdict where one is requested, or a sentence."""
    if answer.text is not None:
        return answer.text
    if answer.fault == "garbage":
        return "Well, it is hard to say."
    if any('"judgment"' in text for text in texts):
        return json.dumps(PASS)
    return "Let soft light fall from the side."


def usage_of(texts: list[str], images: list[str], text: str) -> Usage:
    return Usage(sum(map(len, texts)) // 4 + IMAGE_TOKENS * len(images), len(text) // 4 + 1)
