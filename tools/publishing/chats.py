"""Conversations about an artifact: what a chat model is told and answers, whose turn it is, and what was chosen.

A choice and its way back are one transaction, under the lease of its conversation. Who repeats a choice under the
same id, after a crash, changes nothing.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import msgspec

from tools import db
from tools.env import Env, Statements
from tools.errors import Conflict
from tools.ledger import leases
from tools.ledger.leases import LeasedTable
from tools.rows import Count, dump, now_ms
from tools.step import step

BRIEF_MARK = "\nBRIEF: "
"""What stands in the system message before the `Brief` as JSON, which is its end."""
KEPT_CHOICES = 100
"""Of each chat; older ones cannot be taken back any more."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
TASTES = ("theme", "tone", "layout")
LIKING = re.compile(r"[A-Za-z][A-Za-z -]{0,39}")

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


class Placeholder(msgspec.Struct, frozen=True):
    """A place of the template, and what it is filled with."""

    name: str
    kind: Literal["text", "image"]
    value: str | None = None


class Brief(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How things stand, as the model is told with every question. `taste` is what the owner is known to like."""

    title: str
    placeholders: list[Placeholder]
    taste: dict[str, str]
    shown: list[int]
    """Numbers of the images in the list that was shown last, in its order."""
    numbers: dict[str, int]
    """By placeholder, the number of the image that it is filled with."""
    link: str | None
    """The public link, once the page answers."""
    changed: bool
    """Whether something was chosen since the page was published."""


class ProjectCard(msgspec.Struct, frozen=True):
    id: str
    name: str
    description: str


class ProjectCards(msgspec.Struct, frozen=True):
    projects: list[ProjectCard]


class ImageCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image as the model is told of it; `met` is how many of the judge's criteria it meets: "3/4"."""

    number: int
    id: str
    url: str
    provider: str
    prompt: str
    tags: list[str]
    judgment: Literal["pass", "fail"] | None = None
    met: str = ""
    note: str = ""
    made: int = 0
    """UTC milliseconds."""


class ImageCards(msgspec.Struct, frozen=True):
    """The best judged first; `more` were left out."""

    project: str
    images: list[ImageCard]
    more: int


class RefusedChoice(msgspec.Struct, frozen=True):
    key: str
    error: str
    message: str


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a call of `save_configuration` came to. An empty value is a placeholder that was cleared."""

    saved: dict[str, str]
    refused: list[RefusedChoice]
    undone: dict[str, str] | None = None
    """What an undo put back; None when there was nothing to undo, or none was asked for."""
    remembered: dict[str, str] = {}
    missing: list[str]


class Rendered(msgspec.Struct, frozen=True):
    link: str


class ToolFailed(msgspec.Struct, frozen=True):
    error: str
    message: str


class ChatLease(msgspec.Struct, frozen=True):
    """The right to answer in a chat. It ends when a later claim raises the fence."""

    artifact_id: str
    session_id: str
    fence: int


LEASES = LeasedTable(row=ChatLease, claim=CLAIM, renew=RENEW, lock=LOCK, lost="another process answers this chat now")


class Change(msgspec.Struct, frozen=True):
    """One placeholder's value, None where there was or is none."""

    key: str
    before: str | None
    after: str | None


class _Choice(msgspec.Struct, frozen=True):
    id: str
    changes: list[Change]
    undone_by: str | None


@contextlib.asynccontextmanager
async def holding(env: Env, artifact_id: str, session_id: str, *, wait: float) -> AsyncIterator[ChatLease]:
    """Hold the lease of a chat, alone over all processes, while the block runs; a busy chat is waited for, `wait`
    seconds at most.

    Fails: Conflict (`chat_busy`) after that · LeaseLost, which cancels the block, when the lease was lost.
    """
    chat = {"artifact_id": artifact_id, "session_id": session_id}
    clock = asyncio.get_running_loop().time
    end, pause = clock() + wait, FIRST_PAUSE_SECONDS
    while True:
        # A look first: those who wait must not keep the database writing.
        busy = await env.DB.one(IS_BUSY, Count, **chat, now=now_ms())
        if busy == Count(0) and (lease := await leases.claim(env, LEASES, **chat)):
            break
        if clock() + pause > end:
            message = "another turn of this chat is still being answered; send this one again in a moment"
            raise Conflict(message, code="chat_busy", detail={"retryAfterSeconds": 1})
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    async with leases.keep(env, LEASES, lease):
        yield lease


@step("chats.choose")
async def choose(env: Env, hold: ChatLease, choice_id: str, values: Mapping[str, str | None]) -> list[Change]:
    """Fill placeholders, or with None clear them; what has that value already is no change.

    Effect: configuration and history in one transaction; under the same id again, nothing but the same answer.
    Fails: LeaseLost when somebody else holds the chat.
    """
    async with env.DB.transaction() as tx:
        await _lock(tx, hold)
        if done := await tx.one(CHOICE, _Choice, id=choice_id):
            return done.changes
        now = await db.config(tx, hold.artifact_id)
        changes = [Change(key, now.get(key), after) for key, after in values.items() if now.get(key) != after]
        if not changes:
            return []
        chat = {"artifact_id": hold.artifact_id, "session_id": hold.session_id}
        await tx.run(INSERT_CHOICE, **chat, id=choice_id, changes=dump(changes), now=now_ms())
        await tx.run(FORGET_CHOICES, **chat, kept=KEPT_CHOICES)
        await _write(tx, hold, {change.key: change.after for change in changes})
    return changes


@step("chats.undo")
async def undo(env: Env, hold: ChatLease, undo_id: str) -> list[Change] | None:
    """Take back this chat's last choice that still stands; its changes, or None when there is none.

    What another chat has changed since is left as it is. Under the same id again, nothing but the same answer.
    Fails: LeaseLost when somebody else holds the chat.
    """
    async with env.DB.transaction() as tx:
        await _lock(tx, hold)
        if done := await tx.one(UNDONE, _Choice, id=undo_id):
            return done.changes
        last = await tx.one(LAST_CHOICE, _Choice, artifact_id=hold.artifact_id, session_id=hold.session_id)
        if last is None:
            return None
        now = await db.config(tx, hold.artifact_id)
        own = [change for change in last.changes if now.get(change.key) == change.after]
        await _write(tx, hold, {change.key: change.before for change in own})
        await tx.run(TAKE_BACK, id=last.id, by=undo_id, now=now_ms())
    return own


async def _lock(tx: Statements, lease: ChatLease) -> None:
    """Lock the chat under its lease, and keep other chats from the artifact until `tx` ends."""
    await leases.lock(tx, LEASES, lease)
    await tx.run(LOCK_ARTIFACT, artifact_id=lease.artifact_id)


async def _write(tx: Statements, hold: ChatLease, values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            await tx.run(CLEAR_CONFIG, artifact_id=hold.artifact_id, key=key)
        else:
            await tx.run(db.SAVE_CONFIG, artifact_id=hold.artifact_id, key=key, value=value)


async def changed_since(env: Env, artifact_id: str, ms: int) -> bool:
    """Whether anything was chosen or taken back after that time."""
    found = await env.DB.one(CHANGED_SINCE, Count, artifact_id=artifact_id, since=ms)
    return found is not None and found.n > 0


@step("chats.taste")
async def taste(env: Env, owner_id: str) -> dict[str, str]:
    """What the owner is known to like of theme, tone and layout."""
    return {
        kind: word for kind, word in (await _preferences(env, owner_id)).items() if kind in TASTES and _liking(word)
    }


@step("chats.remember")
async def remember(env: Env, owner_id: str, likings: Mapping[str, str]) -> None:
    """Keep likings beside the owner's other preferences; an empty word forgets one."""
    kept = {key: value for key, value in (await _preferences(env, owner_id)).items() if key not in likings}
    wanted = {kind: word for kind, word in likings.items() if word}
    await env.USER_PREFERENCES.aput(("preferences", owner_id), "value", {**kept, **wanted})


async def _preferences(env: Env, owner_id: str) -> dict[str, Any]:
    found = await env.USER_PREFERENCES.aget(("preferences", owner_id), "value")
    return dict(found.value) if found else {}


def _liking(word: object) -> bool:
    """Preferences are the owner's own and may hold anything; a liking is a word or two."""
    return isinstance(word, str) and LIKING.fullmatch(word) is not None
