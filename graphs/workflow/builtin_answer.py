"""The built-in replacement for a reasoning model: the words of a task, found by tables and put in order."""

import re

from tools.models.prompt_words import read_wording

OPENING = """\
Brief by the built-in rule. DEFAULT_MODEL_REASONING names no model, so nothing was thought up here: below are the task \
and what the rule reads in it, by tables."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:(?:[.,:/]|\s?[x×]\s?)\d+)*(?:\s?(?:%|[a-zA-Z]{1,12}\b))?")
CONSTRAINT = re.compile(
    r"\b(must|only|exactly|at least|at most|no more than|no less than|up to|never|not|no|without|avoid|except|"
    r"always|deadline)\b",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"[;!?\n]+|[.,](?=\s|$)")
MOST = 20
"""Entries per line of the brief at most."""


def brief(task: str) -> str:
    """The task restated, then its colours, mood, numbers and constraints; the same task gives the same brief."""
    wording = read_wording(task)
    found = {
        "Colours": wording.colours,
        "Mood": wording.mood,
        "Not wanted": tuple(sorted(wording.excluded)),
        "Numbers": numbers(task),
        "Constraints": constraints(task),
    }
    lines = [f"- {title}: {_listed(words)}" for title, words in found.items() if words]
    return "\n".join([OPENING, "", f"Task: {task}", "", *(lines or ["- The rule reads nothing in it."])])


def numbers(task: str) -> tuple[str, ...]:
    """The numbers in the text, each with the unit after it."""
    return tuple(dict.fromkeys(found.strip() for found in NUMBER.findall(task)))


def constraints(task: str) -> tuple[str, ...]:
    """The clauses that demand or forbid something."""
    clauses = [clause.strip() for clause in CLAUSE.split(task)]
    return tuple(dict.fromkeys(clause for clause in clauses if CONSTRAINT.search(clause)))


def _listed(words: tuple[str, ...]) -> str:
    left = len(words) - MOST
    return "; ".join(words[:MOST]) + (f"; and {left} more" if left > 0 else "")
