"""Effects of chats about an artifact: the conversation's lease, choices and their undo, the owner's preferences.

A choice and the values it replaced are stored in one transaction, under the lease of its conversation. Repeating a
choice under the same id, after a crash, changes nothing.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tools import db
from tools.db import Chosen
from tools.env import Env, Statements
from tools.errors import Conflict
from tools.ledger import leases
from tools.ledger.leases import LeasedTable
from tools.rows import Count, dump, now_ms
from tools.step import step

KEPT_CHOICES = 100
"""Choices per conversation that can be undone; older ones are deleted."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
TASTES = ("theme", "tone", "layout")
LIKING = re.compile(r"[A-Za-z][A-Za-z -]{0,39}")
"""A word or two: a chat reads and writes no other values of these preferences."""

IS_BUSY = """
SELECT COUNT(*) AS n FROM artifact_chats
WHERE artifact_id = :artifact_id AND session_id = :session_id AND lease_until >= :now
"""
CLAIM = """
INSERT INTO artifact_chats (artifact_id, session_id, fence, lease_until) VALUES (:artifact_id, :session_id, 1, :until)
ON CONFLICT (artifact_id, session_id) DO UPDATE
SET fence = artifact_chats.fence + 1, lease_until = excluded.lease_until WHERE artifact_chats.lease_until < :now
RETURNING artifact_id, session_id, fence
"""
RENEW = """
UPDATE artifact_chats SET lease_until = :until
WHERE artifact_id = :artifact_id AND session_id = :session_id AND fence = :fence
"""
LOCK = """
UPDATE artifact_chats SET fence = fence
WHERE artifact_id = :artifact_id AND session_id = :session_id AND fence = :fence
RETURNING artifact_id, session_id, fence
"""
LOCK_ARTIFACT = "UPDATE artifacts SET version = version WHERE id = :artifact_id"
CHOICE = "SELECT id, changes, undone_by FROM artifact_choices WHERE id = :id"
UNDONE = "SELECT id, changes, undone_by FROM artifact_choices WHERE undone_by = :id"
LAST_CHOICE = """
SELECT id, changes, undone_by FROM artifact_choices
WHERE artifact_id = :artifact_id AND session_id = :session_id AND undone_by IS NULL ORDER BY number DESC LIMIT 1
"""
INSERT_CHOICE = """
INSERT INTO artifact_choices (id, artifact_id, session_id, number, changes, created_at)
SELECT :id, :artifact_id, :session_id, COALESCE(MAX(number), 0) + 1, :changes, CAST(:now AS BIGINT)
FROM artifact_choices WHERE artifact_id = :artifact_id AND session_id = :session_id
"""
FORGET_CHOICES = """
DELETE FROM artifact_choices WHERE artifact_id = :artifact_id AND session_id = :session_id AND number <= (
    SELECT MAX(number) FROM artifact_choices WHERE artifact_id = :artifact_id AND session_id = :session_id
) - CAST(:kept AS BIGINT)
"""
TAKE_BACK = "UPDATE artifact_choices SET undone_by = :by, undone_at = :now WHERE id = :id"
CHANGED_SINCE = """
SELECT COUNT(*) AS n FROM artifact_choices
WHERE artifact_id = :artifact_id AND (created_at > CAST(:since AS BIGINT) OR undone_at > CAST(:since AS BIGINT))
"""
CLEAR_CONFIG = "DELETE FROM artifact_configurations WHERE artifact_id = :artifact_id AND config_key = :key"
CLEAR_ALL = "DELETE FROM artifact_configurations WHERE artifact_id = :artifact_id"


class ChatLease(msgspec.Struct, frozen=True):
    """The right to answer in a chat. It ends when a later claim raises the fence."""

    artifact_id: str
    session_id: str
    fence: int


TABLE = LeasedTable(row=ChatLease, claim=CLAIM, renew=RENEW, lock=LOCK, lost="another process answers this chat now")


class Change(msgspec.Struct, frozen=True):
    """One placeholder's value, None where there was or is none."""

    key: str
    before: str | None
    after: str | None
    image_before: str | None = None
    """The id of the image that was chosen, where the value is its address."""
    image_after: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    id: str
    changes: list[Change]
    undone_by: str | None


@contextlib.asynccontextmanager
async def holding(env: Env, artifact_id: str, session_id: str, *, wait: float) -> AsyncIterator[ChatLease]:
    """Own the chat's lease, exclusively across all processes, while the block runs.

    A busy chat is waited for, at most `wait` seconds.
    Fails: Conflict (`chat_busy`) after that time · LeaseLost, which cancels the block, when the lease was lost.
    """
    chat = {"artifact_id": artifact_id, "session_id": session_id}
    clock = asyncio.get_running_loop().time
    end, pause = clock() + wait, FIRST_PAUSE_SECONDS
    while True:
        # Read before claiming, so that waiting requests do not keep writing to the database.
        busy = await env.DB.one(IS_BUSY, Count, **chat, now=now_ms())
        if busy == Count(0) and (lease := await leases.claim(env, TABLE, **chat)):
            break
        if clock() + pause > end:
            message = "another turn of this chat is still being answered; send this one again in a moment"
            raise Conflict(message, code="chat_busy", detail={"retryAfterSeconds": 1})
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    async with leases.keep(env, TABLE, lease):
        yield lease


@step("chats.choose")
async def choose(
    env: Env,
    lease: ChatLease,
    choice_id: str,
    values: Mapping[str, Chosen | None],
    standing: Mapping[str, str] = MappingProxyType({}),
) -> list[Change]:
    """Fill placeholders, or clear those with None, and return what changed. Where nothing was chosen yet, `standing` is
    what an undo goes back to.

    Effect: configuration and history in one transaction; repeating it with the same id returns the same changes.
    Fails: LeaseLost when the lease was lost.
    """
    async with env.DB.transaction() as tx:
        await _lock(tx, lease)
        if done := await tx.one(CHOICE, _Choice, id=choice_id):
            return done.changes
        chosen = await db.choices(tx, lease.artifact_id)
        now = {**{key: Chosen(value) for key, value in standing.items()}, **chosen}
        changes = [_change(key, now.get(key), after) for key, after in values.items() if now.get(key) != after]
        if not changes:
            return []
        chat = {"artifact_id": lease.artifact_id, "session_id": lease.session_id}
        await tx.run(INSERT_CHOICE, **chat, id=choice_id, changes=dump(changes), now=now_ms())
        await tx.run(FORGET_CHOICES, **chat, kept=KEPT_CHOICES)
        await _write(tx, lease, {key: values[key] for key in (change.key for change in changes)})
    return changes


@step("chats.undo")
async def undo(env: Env, lease: ChatLease, undo_id: str) -> list[Change] | None:
    """Undo the conversation's last choice that is not undone yet; returns its changes, or None without such a choice.

    Values that another conversation has changed since are left as they are.
    Effect: as `choose`; repeating it with the same id returns the same changes.
    Fails: LeaseLost when the lease was lost.
    """
    async with env.DB.transaction() as tx:
        await _lock(tx, lease)
        if done := await tx.one(UNDONE, _Choice, id=undo_id):
            return done.changes
        last = await tx.one(LAST_CHOICE, _Choice, artifact_id=lease.artifact_id, session_id=lease.session_id)
        if last is None:
            return None
        now = await db.choices(tx, lease.artifact_id)
        own = [change for change in last.changes if _value(now.get(change.key)) == change.after]
        before = {
            change.key: None if change.before is None else Chosen(change.before, change.image_before) for change in own
        }
        await _write(tx, lease, before)
        await tx.run(TAKE_BACK, id=last.id, by=undo_id, now=now_ms())
    return own


async def _lock(tx: Statements, lease: ChatLease) -> None:
    """Lock the chat under its lease, and lock the artifact against other chats until `tx` ends."""
    await leases.lock(tx, TABLE, lease)
    await tx.run(LOCK_ARTIFACT, artifact_id=lease.artifact_id)


def _change(key: str, before: Chosen | None, after: Chosen | None) -> Change:
    image_before, image_after = (chosen.progression_id if chosen else None for chosen in (before, after))
    return Change(key, _value(before), _value(after), image_before, image_after)


def _value(chosen: Chosen | None) -> str | None:
    return chosen.value if chosen else None


async def _write(tx: Statements, lease: ChatLease, values: Mapping[str, Chosen | None]) -> None:
    for key, chosen in values.items():
        if chosen is None:
            await tx.run(CLEAR_CONFIG, artifact_id=lease.artifact_id, key=key)
        else:
            value = {"value": chosen.value, "progression_id": chosen.progression_id}
            await tx.run(db.SAVE_CONFIG, artifact_id=lease.artifact_id, key=key, **value)


@step("chats.forget_choices")
async def forget_choices(env: Env, artifact_id: str) -> None:
    """Clear what chats chose for the artifact; its options are what the caller gives now."""
    await env.DB.run(CLEAR_ALL, artifact_id=artifact_id)


async def changed_since(env: Env, artifact_id: str, ms: int) -> bool:
    """Whether any choice was made or undone after that time."""
    found = await env.DB.one(CHANGED_SINCE, Count, artifact_id=artifact_id, since=ms)
    return found is not None and found.n > 0


@step("chats.taste")
async def taste(env: Env, owner_id: str) -> dict[str, str]:
    """The owner's preferred theme, tone and layout; values that are more than a word or two are left out."""
    kept = await _preferences(env, owner_id)
    return {
        kind: word
        for kind, word in kept.items()
        if kind in TASTES and isinstance(word, str) and LIKING.fullmatch(word)
    }  # fmt: skip


@step("chats.remember")
async def remember(env: Env, owner_id: str, likings: Mapping[str, str]) -> None:
    """Store preferences beside the owner's others; an empty word deletes one."""
    kept = {key: value for key, value in (await _preferences(env, owner_id)).items() if key not in likings}
    wanted = {kind: word for kind, word in likings.items() if word}
    await env.USER_PREFERENCES.aput(("preferences", owner_id), "value", {**kept, **wanted})


async def _preferences(env: Env, owner_id: str) -> dict[str, Any]:
    found = await env.USER_PREFERENCES.aget(("preferences", owner_id), "value")
    return dict(found.value) if found else {}


@step("chats.prune", retry=False)
async def prune(env: Env, thread_id: str) -> None:
    """Delete all checkpoints of a conversation but the last."""
    await env.AGENTIC_MEMORIES.aprune([thread_id], strategy="keep_latest")
