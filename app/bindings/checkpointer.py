"""AGENTIC_MEMORIES: LangGraph's checkpointer over plain Redis commands, so that any Redis will do.

A failed read raises and is never taken for an empty answer: one that looks like "no checkpoint yet" would silently
begin a conversation anew.
"""

import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT

from app.bindings.redis.connection import answering
from app.settings import Settings
from tools.errors import Unavailable

NUL = "\x00"
PAGE = 50


def open_checkpointer(settings: Settings, client: Redis) -> "RedisSaver":
    """The checkpointer; a thread expires MEMORY_DAYS after its last write."""
    return RedisSaver(client, seconds=settings.memory_days * 24 * 3600)


class _Blob(msgspec.Struct, frozen=True, array_like=True):
    """A value as the serializer wrote it."""

    type: str
    data: bytes


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """A checkpoint without its channel values, which are stored once per version."""

    checkpoint: _Blob
    metadata: _Blob
    parent: str | None


class _Write(msgspec.Struct, frozen=True, array_like=True):
    channel: str
    value: _Blob


_pack = msgspec.msgpack.Encoder().encode
_blob = msgspec.msgpack.Decoder(_Blob).decode
_record = msgspec.msgpack.Decoder(_Record).decode
_write = msgspec.msgpack.Decoder(_Write).decode


@dataclass(frozen=True)
class _Keys:
    """The keys of one thread; the hash tag keeps them together in a cluster."""

    thread_id: str

    @property
    def index(self) -> str:
        """Sorted set of members `ns NUL checkpoint_id`, score 0: lexical order is the order of time."""
        return self._key("i")

    @property
    def records(self) -> str:
        """Hash: member → _Record."""
        return self._key("c")

    @property
    def values(self) -> str:
        """Hash: `ns NUL channel NUL version` → _Blob."""
        return self._key("b")

    @property
    def write_keys(self) -> str:
        """Set of the keys that `writes` gives, so that all can be deleted."""
        return self._key("k")

    def writes(self, member: str) -> str:
        """Hash of one checkpoint: `task_path NUL task_id NUL index` → _Write."""
        return self._key(f"w:{member}")

    def _key(self, kind: str) -> str:
        return f"memory:{{{self.thread_id}}}:{kind}"


class RedisSaver(BaseCheckpointSaver[str]):
    """Every checkpoint of a thread with its pending writes, under keys that expire together."""

    def __init__(self, client: Redis, *, seconds: int) -> None:
        # Without an allowlist a stored blob may name any callable, and loading it would call it.
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._client, self._seconds = client, seconds

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Sortable; the random tail keeps two forks of a thread from sharing a version."""
        number = int(current[:8], 16) if current else 0
        return f"{number + 1:08x}{secrets.token_hex(4)}"

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store the checkpoint and the values that changed, in one round trip."""
        keys, ns = _place(config)
        values = checkpoint["channel_values"]
        record = _Record(
            self._dump({key: value for key, value in checkpoint.items() if key != "channel_values"}),
            self._dump(get_checkpoint_metadata(config, metadata)),
            get_checkpoint_id(config),
        )
        changed: dict[FieldT, EncodableT] = {
            _value_field(ns, channel, version): _pack(self._dump(values[channel]))
            for channel, version in new_versions.items()
            if channel in values
        }
        member = _member(ns, checkpoint["id"])
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.records, member, _pack(record))
            if changed:
                pipe.hset(keys.values, mapping=changed)
            pipe.zadd(keys.index, {member: 0})
            for key in (keys.records, keys.values, keys.index, keys.write_keys):
                pipe.expire(key, self._seconds)
            with answering():
                await pipe.execute()
        return _config(keys.thread_id, ns, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote; a repeated task keeps its first writes, but its last error and interrupt."""
        keys, ns = _place(config)
        key = keys.writes(_member(ns, config["configurable"]["checkpoint_id"]))
        async with self._client.pipeline(transaction=True) as pipe:
            for position, (channel, value) in enumerate(writes):
                index = WRITES_IDX_MAP.get(channel, position)
                field = NUL.join((task_path, task_id, str(index)))
                put = pipe.hset if index < 0 else pipe.hsetnx
                put(key, field, _pack(_Write(channel, self._dump(value))))
            pipe.sadd(keys.write_keys, key)
            pipe.expire(key, self._seconds)
            pipe.expire(keys.write_keys, self._seconds)
            with answering():
                await pipe.execute()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint named, else the latest of its thread and namespace."""
        keys, ns = _place(config)
        if named := get_checkpoint_id(config):
            found = await self._load(keys, [_member(ns, named)])
            return found[0]._replace(config=config) if found else None
        for _ in range(3):
            if not (latest := await self._members(keys, ns, limit=1)):
                return None
            if found := await self._load(keys, latest):
                return found[0]
            # Pruned between the two reads: a newer one is there.
        raise Unavailable("the conversation kept changing while it was read", code="redis_unavailable")

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Newest first, thread by thread; all namespaces and all threads where `config` names none."""
        if limit is not None and limit <= 0:
            return
        left = limit
        # A page as small as the limit spares reading what nobody asked for; a filter may drop all of it.
        page = PAGE if filter or limit is None else min(PAGE, limit)
        found = self._list(config, filter or {}, get_checkpoint_id(before) if before else None, page)
        async with contextlib.aclosing(found):
            async for checkpoint in found:
                yield checkpoint
                left = None if left is None else left - 1
                if left == 0:
                    return

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything of the thread. Fails: Unavailable."""
        keys = _Keys(str(thread_id))
        with answering():
            writes: Iterable[Any] = await self._client.smembers(keys.write_keys)
            await self._client.unlink(keys.index, keys.records, keys.values, keys.write_keys, *writes)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop all but the latest checkpoint of each namespace (`keep_latest`), or everything (`delete`)."""
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self._keep_latest(_Keys(str(thread_id)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy every checkpoint with its values and pending writes to another thread. Fails: Unavailable."""
        source, target = _Keys(str(source_thread_id)), _Keys(str(target_thread_id))
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zrange(source.index, 0, -1)
            pipe.hgetall(source.records)
            pipe.hgetall(source.values)
            pipe.smembers(source.write_keys)
            with answering():
                index, records, values, write_keys = await pipe.execute()
        if not index:
            return
        prefix = len(source.writes(""))
        hashes: dict[str, dict[FieldT, EncodableT]] = {}
        for key in write_keys:
            with answering():
                fields: dict[Any, Any] = await self._client.hgetall(key.decode())
            if fields:
                hashes[target.writes(key.decode()[prefix:])] = fields
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zadd(target.index, dict.fromkeys(index, 0))
            if hashes:
                pipe.sadd(target.write_keys, *hashes)
            hashes |= {target.records: records} | ({target.values: values} if values else {})
            for key, fields in hashes.items():
                pipe.hset(key, mapping=fields)
            for key in (target.index, target.write_keys, *hashes):
                pipe.expire(key, self._seconds)
            with answering():
                await pipe.execute()

    def _dump(self, value: Any) -> _Blob:
        return _Blob(*self.serde.dumps_typed(value))

    def _value(self, blob: _Blob) -> Any:
        return self.serde.loads_typed((blob.type, blob.data))

    async def _members(self, keys: _Keys, ns: str, *, before: str | None = None, limit: int = -1) -> list[str]:
        """Members of one namespace, newest first."""
        top = f"({ns}{NUL}{before}" if before else f"({ns}\x01"
        with answering():
            found: list[Any] = await self._client.zrevrangebylex(keys.index, top, f"[{ns}{NUL}", start=0, num=limit)
        return [member.decode() for member in found]

    async def _all_members(self, keys: _Keys) -> list[str]:
        """Members of all namespaces, newest first."""
        with answering():
            found: list[Any] = await self._client.zrange(keys.index, 0, -1)
        return sorted((member.decode() for member in found), key=_checkpoint_id, reverse=True)

    async def _list(
        self, config: RunnableConfig | None, wanted: Mapping[str, Any], before: str | None, page: int
    ) -> AsyncGenerator[CheckpointTuple, None]:
        named = get_checkpoint_id(config) if config else None
        for keys in [_place(config)[0]] if config else await self._threads():
            ns = config["configurable"].get("checkpoint_ns") if config else None
            members = await (self._all_members(keys) if ns is None else self._members(keys, ns, before=before))
            members = [
                member
                for member in members
                if (not named or _checkpoint_id(member) == named) and (not before or _checkpoint_id(member) < before)
            ]
            for start in range(0, len(members), page):
                for found in await self._load(keys, members[start : start + page], wanted):
                    yield found

    async def _threads(self) -> list[_Keys]:
        head, tail = _Keys(NUL).index.split(NUL)
        with answering():
            found = {key.decode() async for key in self._client.scan_iter(match="memory:*:i", count=500)}
        return [
            _Keys(key[len(head) : -len(tail)])
            for key in sorted(found)
            if key.startswith(head) and key.endswith(tail) and len(key) > len(head + tail)
        ]

    async def _load(
        self, keys: _Keys, members: Sequence[str], wanted: Mapping[str, Any] | None = None
    ) -> list[CheckpointTuple]:
        """The checkpoints whose metadata holds all that is wanted; those that are gone are left out."""
        with answering():
            stored: list[Any] = await self._client.hmget(keys.records, list(members))
        records = {member: _record(data) for member, data in zip(members, stored, strict=True) if data is not None}
        metadata = {member: self._value(record.metadata) for member, record in records.items()}
        records = {
            member: record
            for member, record in records.items()
            if all(key in metadata[member] and metadata[member][key] == value for key, value in (wanted or {}).items())
        }
        if not records:
            return []
        checkpoints = {member: self._value(record.checkpoint) for member, record in records.items()}
        async with self._client.pipeline(transaction=False) as pipe:
            for member, checkpoint in checkpoints.items():
                pipe.hgetall(keys.writes(member))
                pipe.hmget(keys.values, [NUL, *_value_fields(_namespace(member), checkpoint)])
            # Asked last: what is still there now had all its values a moment ago.
            pipe.hmget(keys.records, list(records))
            with answering():
                *answers, still = await pipe.execute()
        return [
            self._tuple(keys, member, record, checkpoints[member], writes, values[1:])
            for (member, record), writes, values, there in zip(
                records.items(), answers[::2], answers[1::2], still, strict=True
            )
            if there is not None
        ]

    def _tuple(
        self,
        keys: _Keys,
        member: str,
        record: _Record,
        checkpoint: Checkpoint,
        writes: Mapping[bytes, bytes],
        values: Iterable[bytes | None],
    ) -> CheckpointTuple:
        ns = _namespace(member)
        channels = zip(checkpoint["channel_versions"], values, strict=True)
        checkpoint["channel_values"] = {
            channel: self._value(_blob(data)) for channel, data in channels if data is not None
        }
        return CheckpointTuple(
            _config(keys.thread_id, ns, _checkpoint_id(member)),
            checkpoint,
            self._value(record.metadata),
            _config(keys.thread_id, ns, record.parent) if record.parent else None,
            self._pending(writes),
        )

    def _pending(self, writes: Mapping[bytes, bytes]) -> list[PendingWrite]:
        """In the order in which the live run applied them, which reducers may depend on."""
        found = []
        for field, data in writes.items():
            path, task_id, index = field.decode().rsplit(NUL, 2)
            found.append((writes_sort_key(path, task_id, int(index)), task_id, _write(data)))
        found.sort(key=lambda write: write[0])
        return [(task_id, write.channel, self._value(write.value)) for _, task_id, write in found]

    async def _keep_latest(self, keys: _Keys) -> None:
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hkeys(keys.values)
            pipe.zrange(keys.index, 0, -1)
            with answering():
                fields, index = await pipe.execute()
        members = sorted(member.decode() for member in index)
        latest = {_namespace(member): member for member in members}
        dropped = [member for member in members if latest[_namespace(member)] != member]
        if not dropped:
            return
        with answering():
            kept: list[Any] = await self._client.hmget(keys.records, list(latest.values()))
        needed = {
            field
            for ns, data in zip(latest, kept, strict=True)
            if data is not None
            for field in _value_fields(ns, self._value(_record(data).checkpoint))
        }
        unused = [field for field in fields if field.decode() not in needed]
        writes = [keys.writes(member) for member in dropped]
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zrem(keys.index, *dropped)
            pipe.hdel(keys.records, *dropped)
            pipe.unlink(*writes)
            pipe.srem(keys.write_keys, *writes)
            if unused:
                pipe.hdel(keys.values, *unused)
            with answering():
                await pipe.execute()


def _place(config: RunnableConfig) -> tuple[_Keys, str]:
    configurable = config["configurable"]
    return _Keys(str(configurable["thread_id"])), configurable.get("checkpoint_ns", "")


def _config(thread_id: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def _member(ns: str, checkpoint_id: str) -> str:
    return f"{ns}{NUL}{checkpoint_id}"


def _namespace(member: str) -> str:
    return member.rpartition(NUL)[0]


def _checkpoint_id(member: str) -> str:
    return member.rpartition(NUL)[2]


def _value_field(ns: str, channel: str, version: str | int | float) -> str:
    return NUL.join((ns, channel, str(version)))


def _value_fields(ns: str, checkpoint: Checkpoint) -> list[str]:
    """One for each channel, in the order of `channel_versions`."""
    return [_value_field(ns, channel, version) for channel, version in checkpoint["channel_versions"].items()]
