"""The store: what LangGraph's graphs and our routes ask of USER_PREFERENCES."""

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import GetOp, Item, ListNamespacesOp, PutOp, SearchOp
from redis.asyncio import Redis

from app.bindings.store import RedisStore, open_store
from tests.support.servers.valkey import Valkey
from tools.errors import Unavailable


@pytest.fixture
def store(redis_client: Redis) -> RedisStore:
    return open_store(redis_client)


async def test_an_item_is_put_replaced_and_deleted(store: RedisStore, redis_client: Redis) -> None:
    """The last value counts, its birthday is that of the first, nothing of a deleted one is left, none expires."""
    place = ("preferences", "owner")
    await store.aput(place, "value", {"theme": "dark", "nested": {"list": [1, 2.5, None, "ü"]}})
    first = await store.aget(place, "value")
    assert first and first.value == {"theme": "dark", "nested": {"list": [1, 2.5, None, "ü"]}}
    await asyncio.sleep(0.002)
    await store.aput(place, "value", {"theme": "light"})
    second = await store.aget(place, "value")
    assert second and second.value == {"theme": "light"}
    assert second.created_at == first.created_at < second.updated_at
    assert {await redis_client.ttl(key) async for key in redis_client.scan_iter()} == {-1}
    await store.adelete(place, "value")
    assert await store.aget(place, "value") is None
    assert [key async for key in redis_client.scan_iter()] == []


async def test_owners_do_not_see_each_other(store: RedisStore) -> None:
    """Namespaces that look alike are different ones."""
    names = ["mail@example.org", "o", "O", "o ", "o:1", "o*", 'o"', "o,", "ö"]
    for name in names:
        await store.aput(("preferences", name), "value", {"name": name})
    for name in names:
        item = await store.aget(("preferences", name), "value")
        assert item and item.value == {"name": name}
        (found,) = await store.abatch([SearchOp(("preferences", name))])
        assert isinstance(found, list) and [item.value for item in found if isinstance(item, Item)] == [{"name": name}]
    await store.adelete(("preferences", "mail@example.org"), "value")
    assert await store.aget(("preferences", "mail@example.org"), "value") is None


async def test_searching(store: RedisStore) -> None:
    """Below a prefix, by namespace and key, with filters, limit and offset."""
    for number in range(6):
        await store.aput(("a", f"n{number % 2}"), f"k{number}", {"number": number, "even": number % 2 == 0})
    await store.aput(("b",), "k", {"number": 1})
    await store.aput(("ab",), "k", {"number": 1, "text": "x"})

    async def keys(prefix: tuple[str, ...], **how: Any) -> list[str]:
        return [item.key for item in await store.asearch(prefix, **how)]

    assert await keys(("a",)) == ["k0", "k2", "k4", "k1", "k3", "k5"]
    assert await keys(("a",), limit=2, offset=1) == ["k2", "k4"]
    assert await keys(("a", "n1")) == ["k1", "k3", "k5"]
    assert await keys(("a",), filter={"even": True}) == ["k0", "k2", "k4"]
    assert await keys(("a",), filter={"number": {"$gte": 2, "$lt": 5}}) == ["k2", "k4", "k3"]
    assert await keys(("a",), filter={"number": {"$gt": 4}}) == ["k5"]
    assert await keys(("a",), filter={"number": {"$lte": 0}}) == ["k0"]
    assert await keys(("a",), filter={"number": {"$ne": 0}, "even": {"$eq": True}}) == ["k2", "k4"]
    assert await keys((), filter={"text": {"$gt": "a"}}) == ["k"]
    assert len(await keys(())) == 8
    with pytest.raises(ValueError, match=r"\$regex"):
        await keys((), filter={"number": {"$regex": "."}})


async def test_listing_namespaces(store: RedisStore) -> None:
    """By prefix and suffix with wildcards, cut to a depth; a namespace without items is not listed."""
    for place in (("a", "b", "v1"), ("a", "c", "v1"), ("a", "c", "v2"), ("d",), ("gone",)):
        await store.aput(place, "k", {})
    await store.adelete(("gone",), "k")
    assert await store.alist_namespaces() == [("a", "b", "v1"), ("a", "c", "v1"), ("a", "c", "v2"), ("d",)]
    assert await store.alist_namespaces(prefix=("a", "*", "v1")) == [("a", "b", "v1"), ("a", "c", "v1")]
    assert await store.alist_namespaces(suffix=("v2",)) == [("a", "c", "v2")]
    assert await store.alist_namespaces(prefix=("a",), max_depth=2) == [("a", "b"), ("a", "c")]
    assert await store.alist_namespaces(limit=1, offset=3) == [("d",)]


async def test_a_batch_sees_its_own_work(store: RedisStore) -> None:
    """Operations run in order, and each has its answer in its place."""
    put, get = PutOp(("a",), "k", {"n": 1}), GetOp(("a",), "k")
    nothing, _, item, found, namespaces, _, gone = await store.abatch(
        [get, put, get, SearchOp(("a",)), ListNamespacesOp(), PutOp(("a",), "k", None), get]
    )
    assert nothing is gone is None
    assert isinstance(found, list) and found[0] == item
    assert namespaces == [("a",)]


async def test_a_graph_uses_it(store: RedisStore) -> None:
    """A node reads and writes it as its runtime's store."""

    class State(TypedDict):
        theme: str

    async def remember(state: State, runtime: Runtime) -> State:
        assert runtime.store
        await runtime.store.aput(("preferences", "o"), "value", {"theme": state["theme"]})
        item = await runtime.store.aget(("preferences", "o"), "value")
        assert item
        return {"theme": item.value["theme"] + "!"}

    graph = StateGraph(State)
    graph.add_node("remember", remember)
    graph.add_edge(START, "remember")
    graph.add_edge("remember", END)
    assert await graph.compile(store=store).ainvoke({"theme": "dark"}) == {"theme": "dark!"}


async def test_the_synchronous_methods_say_what_to_use(store: RedisStore) -> None:
    """They would have to block the loop."""
    with pytest.raises(NotImplementedError, match="aget"):
        store.get(("a",), "k")


async def test_a_failed_read_is_an_error(own_valkey: Valkey) -> None:
    """A server that answers nonsense is Unavailable, not an owner without preferences."""
    from app.bindings.redis.connection import open_client

    async with open_client(own_valkey.url) as client:
        store = open_store(client)
        await store.aput(("a",), "k", {"n": 1})
        await client.rename('preferences:items:["a"]', "away")
        await client.set('preferences:items:["a"]', "x")
        with pytest.raises(Unavailable):
            await store.aget(("a",), "k")
