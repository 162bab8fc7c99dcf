"""The graphs as LangGraph Studio opens them: named by `graphs/langgraph.json`, with JSON schemas, run for real."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

GRAPHS: dict[str, str] = json.loads((Path(__file__).parents[3] / "graphs" / "langgraph.json").read_text())["graphs"]


def graph(name: str) -> Any:
    module, _, factory = GRAPHS[name].partition(":")
    return getattr(importlib.import_module(module), factory)()


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_describes_itself(name: str) -> None:
    """Studio gets each graph's input and output as JSON Schema, and its drawing, without any binding."""
    made = graph(name)
    assert made.get_input_jsonschema()["properties"] and made.get_output_jsonschema()["properties"]
    assert {"__start__", "__end__"} < set(made.get_graph().nodes)


async def test_the_image_job_runs() -> None:
    """Two sketches are bought, judged and delivered without any setup."""
    made = await graph("image_job").ainvoke({"prompt": "a red boat at dawn", "variants": 2, "size": "128x128"})
    assert {image["status"] for image in made["images"]} <= {"complete", "duplicate"}
    assert len(made["images"]) == 2 and any(image["judgment"] for image in made["images"])


async def test_the_chat_remembers_its_thread() -> None:
    """The second turn of a thread continues with the page and the choices of the first."""
    chat, thread = graph("chat"), {"configurable": {"thread_id": "t"}}
    first = await chat.ainvoke({"input": "title: Autumn"}, thread)
    assert first["answer"]["configuration"] == {"TITLE": "Autumn"}
    second = await chat.ainvoke({"input": "what is missing?", "artifact_id": first["artifact_id"]}, thread)
    assert second["answer"]["configuration"] == {"TITLE": "Autumn"} and second["answer"]["missing"]


async def test_the_workflow_runs() -> None:
    """A task comes back as the stored result."""
    made = await graph("workflow").ainvoke({"task": "Summarise the plan: three boats."})
    assert "three boats" in made["result"]
