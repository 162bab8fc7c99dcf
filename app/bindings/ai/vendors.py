"""The vendors of chat models and the variables that each needs: the same as its image adapter names."""

from collections.abc import Mapping

from adapters.gemini.images import adapter as gemini
from adapters.openai.images import adapter as openai
from adapters.workers.images import adapter as workers

CHAT_NEEDS: Mapping[str, tuple[str, ...]] = {adapter.id: adapter.needs for adapter in (openai, gemini, workers)}
