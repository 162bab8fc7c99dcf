"""Words for vendors: the prompt as it is sent, and as it is tried again. Pure functions."""

from collections.abc import Sequence

from tools.rows import Kind, Tip

MAX_TIPS = 3


def refine(prompt: str, tips: Sequence[Tip], kind: Kind, negative_prompt: str | None) -> str:
    """The user's prompt, word for word, followed by what the provider is known to like to be told.

    For an upscale nothing is added: there is nothing to be imagined. What is not wanted is said where a prompt can
    say it; providers with a field of their own for that get it there as well.
    """
    if kind == "upscale":
        return prompt
    hints = [tip.tip.rstrip(". ") for tip in tips[:MAX_TIPS]]
    parts = [prompt, *(f"{hint}." for hint in hints), *([f"Avoid: {negative_prompt}."] if negative_prompt else [])]
    return "\n".join(parts)


def merge_suggestion(prompt: str, suggestion: str) -> str:
    """The prompt with the judge's suggestion as one more demand; repeating it changes nothing."""
    return prompt if suggestion in prompt else f"{prompt}\n{suggestion}"
