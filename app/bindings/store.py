"""USER_PREFERENCES: LangGraph's store, the long-term memory, over plain Redis commands."""

from collections.abc import Iterable, Mapping
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
    """The store; what is put into it stays until it is deleted."""
    return RedisStore(client)


class _Stored(msgspec.Struct, frozen=True):
    value: dict[str, Any]
    updated: int


NAMESPACES = "preferences"
"""Sorted set of the namespaces that hold something, as JSON arrays, score 0."""


class RedisStore(BaseStore):
    """Items as JSON, one hash per namespace. Exact and comparing filters; no semantic search, no expiry."""

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

    # LangGraph's own versions of these three refuse names with a dot; owners' ids may be mail addresses.

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
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
        with answering():
            await self._put(namespace, key, value)

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        await self.abatch([PutOp(namespace, key, None)])

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
                return await self._list_namespaces(op)
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

    async def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        found = [ns for ns in await self._namespaces(()) if all(_fits(ns, condition) for condition in conditions)]
        cut = dict.fromkeys(ns[: op.max_depth] for ns in found)
        return list(islice(cut, op.offset, op.offset + op.limit))


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


def _matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(_equals(value.get(key), want) for key, want in wanted.items())


def _equals(value: Any, want: Any) -> bool:
    """Equal, or, where `want` is written `{"$gt": 3}`, as far as all its operators allow."""
    if not isinstance(want, dict) or not any(key.startswith("$") for key in want):
        return bool(value == want)
    return all(_compares(value, operator, bound) for operator, bound in want.items())


def _compares(value: Any, operator: str, bound: Any) -> bool:
    if operator in ("$gt", "$gte", "$lt", "$lte") and not _ordered(value, bound):
        return False
    match operator:
        case "$eq":
            return bool(value == bound)
        case "$ne":
            return bool(value != bound)
        case "$gt":
            return bool(value > bound)
        case "$gte":
            return bool(value >= bound)
        case "$lt":
            return bool(value < bound)
        case "$lte":
            return bool(value <= bound)
    raise ValueError(f"{operator} is no operator of a filter")


def _ordered(*values: Any) -> bool:
    return any(all(isinstance(value, kind) for value in values) for kind in (int | float, str))
