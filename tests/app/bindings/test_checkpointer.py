"""The checkpointer: LangGraph's own suite, promises beyond it, and blobs that an attacker wrote."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde import _msgpack
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
from redis.asyncio import Redis

from app.bindings.checkpointer import RedisSaver, open_checkpointer
from app.bindings.redis.connection import find_server, open_client
from tests.support.environment import settings
from tests.support.servers.valkey import Valkey, ask, valkey
from tools.errors import Unavailable

REDIS = shutil.which("redis-server")
DAY = 24 * 3600


@pytest.fixture(
    scope="module",
    params=["valkey", *(["redis"] if REDIS else [])],
)
def server(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    with valkey(find_server() if request.param == "valkey" else Path(str(REDIS))) as server:
        yield server


@pytest.fixture
async def client(server: Valkey) -> AsyncIterator[Redis]:
    assert ask(server.socket, "FLUSHALL") == "+OK"
    async with open_client(server.url) as client:
        yield client


@pytest.fixture
def saver(client: Redis, tmp_path: Path) -> RedisSaver:
    return open_checkpointer(settings(tmp_path, MEMORY_DAYS="7"), client)


def thread(thread_id: str, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns}}
    if checkpoint_id:
        config["configurable"]["checkpoint_id"] = checkpoint_id
    return config


async def put(saver: RedisSaver, config: RunnableConfig, step: int, **values: Any) -> RunnableConfig:
    """Store one checkpoint with the given channel values, all of them new."""
    versions: dict[str, str | int | float] = {channel: saver.get_next_version(None, None) for channel in values}
    checkpoint: Checkpoint = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
    return await saver.aput(config, checkpoint, {"source": "loop", "step": step, "parents": {}}, versions)


async def ids(saver: RedisSaver, config: RunnableConfig | None, **how: Any) -> list[str]:
    return [found.checkpoint["id"] async for found in saver.alist(config, **how)]


def identity(config: RunnableConfig) -> str:
    return str(config["configurable"]["checkpoint_id"])


async def test_langgraphs_conformance_suite(saver: RedisSaver) -> None:
    """The official suite, with copy and prune, on every server we have."""

    @checkpointer_test(name="RedisSaver")
    async def checkpointer() -> AsyncIterator[RedisSaver]:
        yield saver

    report = await validate(checkpointer)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert sum(result.tests_passed for result in report.results.values()) >= 74
    missing = {name for name, result in report.results.items() if not result.detected}
    assert missing == {"delete_for_runs"}


async def test_a_failed_read_is_an_error(own_valkey: Valkey, tmp_path: Path) -> None:
    """A server that is away is Unavailable and never an empty conversation."""
    async with open_client(own_valkey.url) as client:
        saver = open_checkpointer(settings(tmp_path), client)
        config = await put(saver, thread("t"), 1, messages=["hello"])
        own_valkey.kill()
        with pytest.raises(Unavailable):
            await saver.aget_tuple(thread("t"))
        own_valkey.start()
        assert ask(own_valkey.socket, "RENAME memory:{t}:c away") == "+OK"
        assert ask(own_valkey.socket, "SET memory:{t}:c x") == "+OK"
        with pytest.raises(Unavailable):
            await saver.aget_tuple(config)
        with pytest.raises(Unavailable):
            await ids(saver, thread("t"))


async def test_pending_writes_come_in_the_order_of_the_run(saver: RedisSaver) -> None:
    """Order is by task path, then task, then index, as a live run applies them."""
    config = await put(saver, thread("t"), 1)
    await saver.aput_writes(config, [("c", 10)], "task-a", "~__pregel_pull, 0000000010")
    await saver.aput_writes(config, [("c", 2), ("d", 3)], "task-b", "~__pregel_pull, 0000000002")
    await saver.aput_writes(config, [("c", 0)], "task-z")
    found = await saver.aget_tuple(config)
    assert found and found.pending_writes == [
        ("task-z", "c", 0),
        ("task-b", "c", 2),
        ("task-b", "d", 3),
        ("task-a", "c", 10),
    ]


async def test_a_repeated_task_keeps_its_first_writes(saver: RedisSaver) -> None:
    """What a task wrote once stands; only its special writes (here the error) are replaced."""
    config = await put(saver, thread("t"), 1)
    for attempt in (1, 2):
        await saver.aput_writes(config, [("c", attempt), ("__error__", f"error {attempt}")], "task")
    found = await saver.aget_tuple(config)
    assert found and found.pending_writes == [("task", "__error__", "error 2"), ("task", "c", 1)]


async def test_listing(saver: RedisSaver) -> None:
    """All namespaces where none is named, all threads where none is, one checkpoint by its id; newest first."""
    root = [await put(saver, thread("t"), step) for step in range(3)]
    inner = await put(saver, thread("t", "inner:1"), 0)
    other = await put(saver, thread("u"), 0)
    newest_first = [identity(config) for config in (inner, *reversed(root))]
    no_namespace: RunnableConfig = {"configurable": {"thread_id": "t"}}
    assert await ids(saver, no_namespace) == newest_first
    assert sorted(await ids(saver, None)) == sorted([*newest_first, identity(other)])
    assert await ids(saver, thread("t", "", identity(root[1]))) == [identity(root[1])]
    assert await ids(saver, thread("t", "inner")) == []


async def test_listing_before(saver: RedisSaver) -> None:
    """`before` compares; the checkpoint it names need not exist."""
    configs = [await put(saver, thread("t"), step) for step in range(4)]
    names = [identity(config) for config in configs]
    assert await ids(saver, thread("t"), before=configs[2]) == [names[1], names[0]]
    assert await ids(saver, {"configurable": {"thread_id": "t"}}, before=configs[2]) == [names[1], names[0]]
    between = names[2][:-1] + ("0" if names[2][-1] > "0" else "") + "!"
    unknown = await ids(saver, thread("t"), before=thread("t", "", between))
    assert unknown == [name for name in reversed(names) if name < between]
    assert await ids(saver, thread("t"), before=thread("t", "", "~")) == list(reversed(names))


async def test_listing_with_filter_and_limit(saver: RedisSaver) -> None:
    """The limit counts what the filter lets through, also beyond the first page."""
    configs = [await put(saver, thread("t"), step % 60) for step in range(120)]
    assert await ids(saver, thread("t"), filter={"step": 0}, limit=2) == [identity(configs[60]), identity(configs[0])]
    assert await ids(saver, thread("t"), filter={"step": 0}, limit=1) == [identity(configs[60])]
    assert await ids(saver, thread("t"), filter={"unheard": None}) == []
    assert await ids(saver, thread("t"), limit=3) == [identity(config) for config in configs[:-4:-1]]
    assert await ids(saver, thread("t"), limit=0) == []


@pytest.mark.parametrize("name", ["a:b", "*", "t*", "[tu]", "{x}", "}{", "i}:i", "ümlaut 日本", "artifact:1:s-1"])
async def test_thread_ids_are_taken_literally(saver: RedisSaver, name: str) -> None:
    """No sign in an id is a pattern or a separator: the neighbours' threads stay."""
    for other in ("a", "t", "tu", "x"):
        await put(saver, thread(other), 1, value=other)
    config = await put(saver, thread(name), 1, value=name)
    await saver.aput_writes(config, [("c", 1)], "task")
    found = await saver.aget_tuple(thread(name))
    assert found and found.checkpoint["channel_values"] == {"value": name}
    assert identity(config) in await ids(saver, None)
    await saver.adelete_thread(name)
    assert await saver.aget_tuple(thread(name)) is None
    assert len(await ids(saver, None)) == 4


async def test_a_repeated_put_is_one_checkpoint(saver: RedisSaver) -> None:
    """A put that is sent again, as after a lost answer, changes nothing."""
    checkpoint: Checkpoint = {**empty_checkpoint(), "channel_values": {"a": 1}, "channel_versions": {"a": "1"}}
    for _ in range(2):
        await saver.aput(thread("t"), checkpoint, {"step": 1}, {"a": "1"})
    assert await ids(saver, thread("t")) == [checkpoint["id"]]


async def test_every_key_expires_and_a_put_renews_it(saver: RedisSaver, client: Redis) -> None:
    """A thread lives MEMORY_DAYS after its last turn, all of its keys together; a copy as well."""
    config = await put(saver, thread("t"), 1, value=1)
    await saver.aput_writes(config, [("c", 1)], "task")
    await saver.acopy_thread("t", "copy")
    keys = [key async for key in client.scan_iter()]
    assert len(keys) == 10
    for key in keys:
        assert 6 * DAY < await client.ttl(key) <= 7 * DAY
        await client.expire(key, 60)
    await put(saver, config, 2, value=2)
    for kind in "icbk":
        assert await client.ttl(f"memory:{{t}}:{kind}") > 6 * DAY


async def test_pruning_leaves_the_latest_whole(saver: RedisSaver, client: Redis) -> None:
    """After `keep_latest` the latest checkpoint of each namespace is complete, and nothing else is stored."""
    config = thread("t")
    for step in range(5):
        config = await put(saver, config, step, value=step, constant="c")
        await saver.aput_writes(config, [("c", step)], "task")
    inner = await put(saver, thread("t", "inner"), 0, deep=1)
    before = [await saver.aget_tuple(config), await saver.aget_tuple(inner)]
    await saver.aprune(["t"])
    assert [await saver.aget_tuple(config), await saver.aget_tuple(inner)] == before
    assert len(await ids(saver, None)) == 2
    assert await client.hlen("memory:{t}:b") == 3
    assert len([key async for key in client.scan_iter()]) == 5
    await saver.aprune(["t"], strategy="delete")
    assert [key async for key in client.scan_iter()] == []


class Interrupted(Redis):
    """A client between whose first HMGET and next command something else happens."""

    event: Callable[[], Awaitable[None]] | None = None

    async def hmget(self, name: Any, keys: Any, *args: Any) -> Any:
        answer = await super().hmget(name, keys, *args)
        event, self.event = self.event, None
        if event:
            await event()
        return answer


async def test_a_reader_never_sees_half_a_pruned_checkpoint(saver: RedisSaver, client: Redis, tmp_path: Path) -> None:
    """A turn that is stored and pruned in the middle of a read: the reader gets the newer state, whole."""
    old = await put(saver, thread("t"), 1, a=1, b=1)

    async def turn() -> None:
        await put(saver, old, 2, a=2, b=2)
        await saver.aprune(["t"])

    reader: Any = Interrupted.from_pool(client.connection_pool)
    reader.event = turn
    found = await open_checkpointer(settings(tmp_path), reader).aget_tuple(thread("t"))
    assert found and found.checkpoint["channel_values"] == {"a": 2, "b": 2}
    reader.event = lambda: saver.adelete_thread("t")
    assert await ids(open_checkpointer(settings(tmp_path), reader), thread("t")) == []


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    done: Annotated[list[str], lambda old, new: old + new]


async def test_a_graph_keeps_its_state_over_processes(saver: RedisSaver, client: Redis, tmp_path: Path) -> None:
    """Messages, a fan-out with Send and an interrupt come back through a second saver, as after a restart."""

    def spread(state: Chat) -> list[Send]:
        return [Send("work", {"messages": [], "done": [name]}) for name in "ab"]

    def work(state: Chat) -> dict[str, Any]:
        return {"done": [f"{state['done'][0]}!"], "messages": [AIMessage(state["done"][0], id=state["done"][0])]}

    def approve(state: Chat) -> dict[str, Any]:
        return {"done": [interrupt({"question": "publish?"})]}

    graph = StateGraph(Chat)
    graph.add_node("work", work)
    graph.add_node("approve", approve)
    graph.add_conditional_edges(START, spread, ["work"])
    graph.add_edge("work", "approve")
    graph.add_edge("approve", END)
    start: Any = {"messages": [HumanMessage("hi", id="h")], "done": []}
    await graph.compile(checkpointer=saver).ainvoke(start, thread("t"), durability="sync")
    again = graph.compile(checkpointer=open_checkpointer(settings(tmp_path), client))
    state = await again.aget_state(thread("t"))
    assert [waiting.value for waiting in state.interrupts] == [{"question": "publish?"}]
    answer = await again.ainvoke(Command(resume="yes"), thread("t"), durability="sync")
    assert answer["done"] == ["a!", "b!", "yes"]
    assert [message.content for message in answer["messages"]] == ["hi", "a", "b"]


def test_importing_the_application_makes_langgraph_strict() -> None:
    """Whichever of our modules is imported first, LangGraph reads the strict setting."""
    assert _msgpack.STRICT_MSGPACK_ENABLED
    check = (
        "import app.bindings.checkpointer; from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED as on"
    )
    bare = {key: value for key, value in os.environ.items() if key != "LANGGRAPH_STRICT_MSGPACK"}
    printed = subprocess.run(
        [sys.executable, "-c", f"{check}; print(on)"], env=bare, capture_output=True, text=True, check=True
    ).stdout
    assert printed == "True\n"


class Boom:
    """Pickles as a call of os.mkdir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def hostile(path: Path) -> dict[str, tuple[str, bytes]]:
    """Blobs that make a directory at `path` when something in them is called."""
    name = str(path)

    def ext(code: int, *parts: Any) -> bytes:
        return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))

    def lc(**more: Any) -> bytes:
        return json.dumps({"lc": 2, "type": "constructor", "id": ["os", "mkdir"], **more}).encode()

    return {
        "single argument": ("msgpack", ext(0, "os", "mkdir", name)),
        "positional arguments": ("msgpack", ext(1, "os", "mkdir", [name])),
        "keyword arguments": ("msgpack", ext(2, "os", "mkdir", {"path": name})),
        "method": ("msgpack", ext(3, "pathlib", "Path", name, "mkdir")),
        "method of os": ("msgpack", ext(3, "os", "path", name, "mkdir")),
        "pydantic 1": ("msgpack", ext(4, "os", "mkdir", {"path": name}, "construct")),
        "pydantic 2": ("msgpack", ext(5, "os", "mkdir", {"path": name}, "model_validate")),
        "system": ("msgpack", ext(0, "os", "system", f"mkdir {name}")),
        "popen": ("msgpack", ext(1, "subprocess", "check_call", [["mkdir", name]])),
        "eval": ("msgpack", ext(0, "builtins", "eval", f"__import__('os').mkdir({name!r})")),
        "nested": ("msgpack", ormsgpack.packb([{"a": ormsgpack.Ext(0, ormsgpack.packb(("os", "mkdir", name)))}])),
        "json arguments": ("json", lc(args=[name])),
        "json keywords": ("json", lc(kwargs={"path": name})),
        "json method": ("json", lc(method="mkdir", args=[name])),
        "json nested": ("json", b'{"a": [' + lc(args=[name]) + b"]}"),
        "json first edition": ("json", lc(lc=1, kwargs={"path": name})),
        "pickle": ("pickle", pickle.dumps(Boom(path))),
        "unheard-of type": ("python", f"__import__('os').mkdir({name!r})".encode()),
        "deep": ("msgpack", b"\x91" * 100_000 + b"\xc0"),
        "no msgpack": ("msgpack", b"\xc1"),
    }


@pytest.mark.parametrize("place", ["value", "checkpoint", "metadata", "write"])
async def test_poisoned_checkpoints_call_nothing(saver: RedisSaver, client: Redis, tmp_path: Path, place: str) -> None:
    """20 blobs written into the store, in each place of a checkpoint: refused or plain data, no effect."""
    target = tmp_path / "made"
    blobs = hostile(target)
    assert len(blobs) == 20
    for name, blob in blobs.items():
        await saver.adelete_thread("t")
        config = await put(saver, thread("t"), 1, messages=["hello"])
        await saver.aput_writes(config, [("c", 1)], "task")
        await poison(client, place, blob)
        try:
            found: CheckpointTuple | None = await saver.aget_tuple(thread("t"))
        except (NotImplementedError, ValueError, TypeError, KeyError, AttributeError):
            found = None
        if found and place == "value":
            assert isinstance(found.checkpoint["channel_values"]["messages"], str | list | dict | tuple), name
        assert not target.exists(), name


async def poison(client: Redis, place: str, blob: tuple[str, bytes]) -> None:
    """Replace one blob of the only checkpoint of thread `t`."""
    pattern = {"value": "memory:{t}:b", "write": "memory:{t}:w:*"}.get(place, "memory:{t}:c")
    (key,) = [key async for key in client.scan_iter(pattern)]
    stored: Any
    ((field, stored),) = (await client.hgetall(key)).items()
    record: Any = msgspec.msgpack.decode(stored)
    match place:
        case "value":
            record = blob
        case "checkpoint":
            record[0] = blob
        case "metadata" | "write":
            record[1] = blob
    await client.hset(key, field, msgspec.msgpack.encode(record))
