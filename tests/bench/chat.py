"""What the product adds to a turn of a chat, against a bare LangGraph agent that keeps its state in memory.

`python -m tests.bench.chat [TURNS]`. Both sides speak with the same scripted model, which makes one call of a tool and
then says a word, and offer tools of the same names. The bare one's tools are trivial and InMemorySaver forgets
everything with the process; the product's write rows, events and undo, and its memory is a real Redis. Rounds are
interleaved, each in a chat of its own.
"""

import asyncio
import functools
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from app.bindings.redis.connection import find_server, open_client
from graphs.chat.session import speak
from tests.support.samples.chat_page import Scripted, calling, chatting, scripted
from tests.support.servers.valkey import valkey
from tools.env import Env

TURNS, ROUNDS = 40, 3
Turn = Callable[[str, str], Awaitable[Any]]
"""A session and what is said in it."""


def script(messages: list[BaseMessage]) -> AIMessage:
    """A choice of the title that was said, then a word."""
    if isinstance(messages[-1], HumanMessage):
        return calling(("save_configuration", {"choices": [{"key": "TITLE", "value": messages[-1].text}]}))
    return AIMessage("Saved.")


@tool
async def get_projects_for_artifact() -> str:
    """The projects."""
    return "[]"


@tool
async def get_images_for_project(project_id: str) -> str:
    """The images of a project."""
    return "[]"


@tool
async def save_configuration(choices: list[dict[str, str]]) -> str:
    """Save choices."""
    return "saved"


@tool
async def render_artifact() -> str:
    """Publish."""
    return "published"


TRIVIAL = [get_projects_for_artifact, get_images_for_project, save_configuration, render_artifact]


def bare() -> Turn:
    """The agent as it stands in a tutorial, but that its model streams as ours does."""
    model = Scripted(script=script).bind_tools(TRIVIAL)

    async def converse(state: MessagesState) -> dict[str, Any]:
        whole: AIMessageChunk | None = None
        async for chunk in model.astream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    graph = StateGraph(MessagesState)
    graph.add_node("converse", converse)
    graph.add_node("tools", ToolNode(TRIVIAL))
    graph.add_edge(START, "converse")
    graph.add_conditional_edges("converse", tools_condition)
    graph.add_edge("tools", "converse")
    agent = graph.compile(InMemorySaver())

    async def turn(session: str, said: str) -> Any:
        config: Any = {"configurable": {"thread_id": session}}
        return await agent.ainvoke({"messages": [HumanMessage(said)]}, config)

    return turn


async def product(env: Env, session: str, said: str) -> Any:
    answer = await speak(env, "a", session, said, None)
    assert answer["configuration"]["TITLE"] == said, answer


async def milliseconds(turn: Turn, session: str, turns: int) -> list[tuple[float, float]]:
    """Wall and CPU of each turn."""
    taken = []
    for number in range(turns):
        wall, cpu = time.perf_counter(), time.process_time()
        await turn(session, f"Title {number}")
        taken.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    return taken


@asynccontextmanager
async def sides(home: Path) -> AsyncIterator[tuple[Turn, Turn]]:
    with valkey(find_server()) as redis:
        async with open_client(redis.url) as client, chatting(home, client) as env:
            yield functools.partial(product, scripted(env, script)), bare()


async def compare(home: Path, turns: int) -> None:
    async with sides(home) as (ours, theirs):
        for warm in (ours, theirs):
            await milliseconds(warm, "warm", 3)
        for number in range(ROUNDS):
            mine = [median(each) for each in zip(*await milliseconds(ours, f"s{number}", turns), strict=True)]
            plain = [median(each) for each in zip(*await milliseconds(theirs, f"s{number}", turns), strict=True)]
            print(
                f"{turns} turns, p50: product {mine[0]:6.1f} ms ({mine[1]:5.1f} CPU), bare {plain[0]:5.1f} ms "
                f"({plain[1]:4.1f} CPU); wall ratio {mine[0] / plain[0]:4.1f}, CPU ratio {mine[1] / plain[1]:4.1f}, "
                f"added {mine[0] - plain[0]:6.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
