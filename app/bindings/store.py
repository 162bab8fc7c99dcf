"""USER_PREFERENCES: LangGraph's store (long-term memory) over plain Redis commands."""

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import msgspec
from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from redis.asyncio import Redis

from app.bindings.redis.connection import answering
from app.bindings.redis.scripts import Script
from tools.rows import now_ms


def open_store(client: Redis) -> "RedisStore":
    """The store; items stay until they are deleted."""
    return RedisStore(client)


class _Stored(msgspec.Struct, frozen=True):
    value: dict[str, Any]
    updated: int


NAMESPACES = "preferences"
"""Sorted set of the namespaces that hold something, as JSON arrays, score 0."""
MARKS = "marks"
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class RedisStore(BaseStore):
    """Items as JSON, one hash per namespace. Exact and comparing filters; no semantic search, no expiry.

    Beside them are marks: names that are set for a number of seconds.
    """

    __slots__ = ("_client", "_delete")

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._delete = Script(client, "store_delete")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        raise NotImplementedError("this store is asynchronous: use aget, aput, asearch, adelete, alist_namespaces")

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """One after the other, each seeing what those before it did."""
        with answering():
            return [await self._run(op) for op in ops]

    # LangGraph's own versions of these three refuse namespaces with a dot; an owner's id may be a mail address.

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """The item, or None. Fails: Unavailable."""
        with answering():
            return await self._get(namespace, key)

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Store the item, over the one that is there. Fails: Unavailable."""
        with answering():
            await self._put(namespace, key, value)

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete the item, if there is one. Fails: Unavailable."""
        await self.abatch([PutOp(namespace, key, None)])

    async def mark(self, name: str, seconds: int) -> bool:
        """Set the mark; whether this call set it. Fails: Unavailable."""
        with answering():
            return bool(await self._client.set(f"{MARKS}:{name}", "1", ex=seconds, nx=True))

    async def is_marked(self, name: str) -> bool:
        """Whether the mark is set. Fails: Unavailable."""
        with answering():
            return bool(await self._client.exists(f"{MARKS}:{name}"))

    async def unmark(self, name: str) -> None:
        """Remove the mark, if it is set. Fails: Unavailable."""
        with answering():
            await self._client.delete(f"{MARKS}:{name}")

    async def _run(self, op: Op) -> Result:
        match op:
            case GetOp(namespace, key):
                return await self._get(namespace, key)
            case PutOp(namespace, key, None):
                name = _name(namespace)
                await self._delete.run(
                    namespaces=NAMESPACES, items=_items(name), births=_births(name), key=key, namespace=name
                )
                return None
            case PutOp(namespace, key, value) if value is not None:
                await self._put(namespace, key, value)
                return None
            case SearchOp():
                return await self._search(op)
            case ListNamespacesOp():
                conditions = op.match_conditions or ()
                found = await self._namespaces(())
                fitting = [ns for ns in found if all(_fits(ns, condition) for condition in conditions)]
                cut = dict.fromkeys(ns[: op.max_depth] for ns in fitting)
                return list(islice(cut, op.offset, op.offset + op.limit))
        raise NotImplementedError(f"this store does not know {type(op).__name__}")

    async def _get(self, namespace: tuple[str, ...], key: str) -> Item | None:
        name = _name(namespace)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hget(_items(name), key)
            pipe.hget(_births(name), key)
            stored, born = await pipe.execute()
        return Item(**_item(namespace, key, stored, born)) if stored is not None else None

    async def _put(self, namespace: tuple[str, ...], key: str, value: Mapping[str, Any]) -> None:
        name, now = _name(namespace), now_ms()
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zadd(NAMESPACES, {name: 0})
            pipe.hset(_items(name), key, msgspec.json.encode(_Stored(dict(value), now)))
            pipe.hsetnx(_births(name), key, str(now))
            await pipe.execute()

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        """Items below the prefix, by namespace and key."""
        found: list[SearchItem] = []
        for namespace in await self._namespaces(op.namespace_prefix):
            name = _name(namespace)
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hgetall(_items(name))
                pipe.hgetall(_births(name))
                stored, born = await pipe.execute()
            items = (SearchItem(**_item(namespace, key.decode(), stored[key], born[key])) for key in sorted(stored))
            found += (item for item in items if _matches(item.value, op.filter or {}))
            if len(found) >= op.offset + op.limit:
                break
        return found[op.offset : op.offset + op.limit]

    async def _namespaces(self, prefix: tuple[str, ...]) -> list[tuple[str, ...]]:
        head = _name(prefix)[:-1]
        found: list[Any] = await self._client.zrangebylex(NAMESPACES, f"[{head}", f"[{head}\xff")
        namespaces = (msgspec.json.decode(name, type=tuple[str, ...]) for name in found)
        return sorted(namespace for namespace in namespaces if namespace[: len(prefix)] == prefix)


def _name(namespace: tuple[str, ...]) -> str:
    return msgspec.json.encode(namespace).decode()


def _items(name: str) -> str:
    return f"{NAMESPACES}:items:{name}"


def _births(name: str) -> str:
    """Hash: key → when it was first put, in UTC milliseconds."""
    return f"{NAMESPACES}:births:{name}"


def _item(namespace: tuple[str, ...], key: str, stored: bytes, born: bytes) -> dict[str, Any]:
    found = msgspec.json.decode(stored, type=_Stored)
    return {
        "namespace": namespace,
        "key": key,
        "value": found.value,
        "created_at": datetime.fromtimestamp(int(born) / 1000, UTC),
        "updated_at": datetime.fromtimestamp(found.updated / 1000, UTC),
    }


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = condition.path
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return len(part) == len(path) and all(want in ("*", label) for want, label in zip(path, part, strict=True))


def _matches(value: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Whether each field equals what the filter names, or fits all its operators (`{"$gt": 3}`)."""
    for key, want in filter.items():
        found = value.get(key)
        if isinstance(want, dict) and any(name.startswith("$") for name in want):
            if not all(_compares(found, name, bound) for name, bound in want.items()):
                return False
        elif found != want:
            return False
    return True


def _compares(value: Any, name: str, bound: Any) -> bool:
    if name not in COMPARISONS:
        raise ValueError(f"{name} is no operator of a filter")
    if name not in ("$eq", "$ne") and not any(
        isinstance(value, kind) and isinstance(bound, kind) for kind in (int | float, str)
    ):
        return False
    return bool(COMPARISONS[name](value, bound))
