"""Search of progressions: a substring of prompt, notes or tags, the same answer on SQLite and PostgreSQL.

Each progression has a folded text and a list of words, one for every three characters that stand together. Words
are made here, of letters only, so that FTS5 and tsvector index them alike; a query of one or two characters is the
beginning of some word. Words may collide: they narrow, and the text decides.
"""

import re
import unicodedata

import msgspec

from tools.env import Env, Statements, Value
from tools.pages import Cursor
from tools.rows import Judgment, Progression, dump

WINDOW = 1_000
"""Newest progressions that PostgreSQL looks through before the index is asked: what is common is found there."""
AT_ONCE, LATEST = 1024, 1 << 52
"""Progressions of one millisecond that SQLite keeps in order; the last millisecond that fits a number."""
EVERY = 1 << 40
LENGTH = 60_000
"""Characters of a folded text that are searched; more words than that do not fit a tsvector."""
TAG = 500
"""The longest tag that can be filtered by; PostgreSQL's index takes no longer key."""
END = "\x1f"

SCAN_POSTGRESQL = """
SELECT p.* FROM progression_search AS s JOIN image_progressions AS p ON p.id = s.progression_id
WHERE s.project_id = :project_id AND (s.created_at, s.progression_id) < (:at, :id)
    AND s.created_at >= coalesce((SELECT created_at FROM progression_search
        WHERE project_id = :project_id AND (created_at, progression_id) < (:at, :id)
        ORDER BY created_at DESC, progression_id DESC LIMIT 1 OFFSET :window), 0)
    AND strpos(s.text, :query) > 0
    AND (CAST(:provider AS TEXT) IS NULL OR p.ai_provider = :provider)
    AND (CAST(:judgment AS TEXT) IS NULL OR p.judgment = :judgment)
    AND NOT EXISTS (SELECT 1 FROM json_array_elements_text(CAST(CAST(:tags AS TEXT) AS JSON)) AS t (value)
        WHERE NOT EXISTS (SELECT 1 FROM progression_tags WHERE progression_id = s.progression_id AND tag = t.value))
ORDER BY s.created_at DESC, s.progression_id DESC LIMIT :limit
"""
INDEX_POSTGRESQL = """
SELECT p.* FROM (
    SELECT progression_id, created_at FROM progression_search
    WHERE words @@ CAST(CAST(:words AS TEXT) AS TSQUERY) AND project_id = :project_id
        AND (created_at, progression_id) < (:at, :id)
    -- A sum, so that no index offers this order: to walk one would be to read the words of every row.
    ORDER BY created_at + 0 DESC, progression_id DESC LIMIT :most
) AS s CROSS JOIN LATERAL (
    SELECT p.* FROM progression_search AS t JOIN image_progressions AS p ON p.id = t.progression_id
    WHERE t.progression_id = s.progression_id AND strpos(t.text, :query) > 0
        AND (CAST(:provider AS TEXT) IS NULL OR p.ai_provider = :provider)
        AND (CAST(:judgment AS TEXT) IS NULL OR p.judgment = :judgment)
        AND NOT EXISTS (SELECT 1 FROM json_array_elements_text(CAST(CAST(:tags AS TEXT) AS JSON)) AS t (value)
            WHERE NOT EXISTS (SELECT 1 FROM progression_tags WHERE progression_id = p.id AND tag = t.value))
    OFFSET 0
) AS p
ORDER BY s.created_at + 0 DESC, s.progression_id DESC LIMIT :limit
"""
WALK_SQLITE = """
SELECT p.* FROM progression_words CROSS JOIN progression_search AS s ON s.number = progression_words.rowid
JOIN image_progressions AS p ON p.id = s.progression_id
WHERE progression_words MATCH :words AND progression_words.rowid BETWEEN :first AND :last
    AND s.project_id = :project_id AND (s.created_at, s.progression_id) < (:at, :id) AND instr(s.text, :query) > 0
    AND (:provider IS NULL OR p.ai_provider = :provider)
    AND (:judgment IS NULL OR p.judgment = :judgment)
    AND NOT EXISTS (SELECT 1 FROM json_each(:tags) AS t
        WHERE NOT EXISTS (SELECT 1 FROM progression_tags WHERE progression_id = s.progression_id AND tag = t.value))
ORDER BY progression_words.rowid DESC LIMIT :limit
"""
FILE_SQLITE = """
INSERT INTO progression_search (number, progression_id, project_id, created_at, text)
VALUES (
    coalesce((SELECT max(number) + 1 FROM progression_search WHERE number BETWEEN :first AND :last), :first),
    :progression_id, :project_id, :created_at, :text
) ON CONFLICT (progression_id) DO UPDATE SET text = excluded.text
RETURNING number
"""
UNFILE_WORDS_SQLITE = "DELETE FROM progression_words WHERE rowid = :number"
FILE_WORDS_SQLITE = "INSERT INTO progression_words (rowid, words) VALUES (:number, :words)"
FILE_POSTGRESQL = """
INSERT INTO progression_search (progression_id, project_id, created_at, text, words)
VALUES (:progression_id, :project_id, :created_at, :text, CAST(CAST(:words AS TEXT) AS TSVECTOR))
ON CONFLICT (progression_id) DO UPDATE SET text = excluded.text, words = excluded.words
"""
UNFILE_TAGS = "DELETE FROM progression_tags WHERE progression_id = :progression_id"
FILE_TAG = "INSERT INTO progression_tags (progression_id, tag) VALUES (:progression_id, :tag)"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of progressions is narrowed to; all of it must hold. Tags are compared exactly."""

    project_id: str
    query: str = ""
    tags: list[str] = []
    provider: str | None = None
    judgment: Judgment | None = None


class _Filed(msgspec.Struct, frozen=True):
    number: int


async def find(env: Env, wanted: Filter, cursor: Cursor, limit: int) -> list[Progression]:
    """The newest progressions before the cursor that are wanted, at most `limit`."""
    params: dict[str, Value] = {
        "project_id": wanted.project_id,
        "query": fold(wanted.query),
        "provider": wanted.provider,
        "judgment": wanted.judgment,
        "tags": dump(wanted.tags),
        "at": cursor.at,
        "id": cursor.id,
    }
    if env.DB.dialect == "sqlite":
        return await _walk(env.DB, params | {"words": _asked(wanted, " AND ", "*")}, cursor.at, limit)
    return await _narrow(env.DB, params, _asked(wanted, " & ", ":*"), limit)


async def _walk(tx: Statements, params: dict[str, Value], at: int, limit: int) -> list[Progression]:
    """FTS5 walks its index from the newest number and stops when the page is full, however common or rare, near or far
    the words are. Numbers follow time; within a millisecond a page follows ids, so the last one is read whole."""
    rows = await tx.all(WALK_SQLITE, Progression, **params, first=0, last=number_range(at)[1], limit=limit)
    if len(rows) == limit:
        oldest = rows[-1].created_at
        first, last = number_range(oldest)
        same = await tx.all(WALK_SQLITE, Progression, **params, first=first, last=last, limit=AT_ONCE)
        rows = [row for row in rows if row.created_at > oldest] + same
    return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)[:limit]


async def _narrow(tx: Statements, params: dict[str, Value], words: str, limit: int) -> list[Progression]:
    """What is common fills the page out of the newest `WINDOW`. For the rest GIN tells of all that have the words, and
    few of the newest are looked at; all, when too few of those say what was asked."""
    rows = await tx.all(SCAN_POSTGRESQL, Progression, **params, window=WINDOW, limit=limit)
    for most in (2 * limit, EVERY):
        if len(rows) == limit:
            break
        rows = await tx.all(INDEX_POSTGRESQL, Progression, **params, words=words, most=most, limit=limit)
    return rows


async def index(tx: Statements, row: Progression) -> None:
    """Make the progression found under what it says now, and no longer under what it said before."""
    await tx.run(UNFILE_TAGS, progression_id=row.id)
    await tx.many(FILE_TAG, [{"progression_id": row.id, "tag": tag} for tag in searchable_tags(row.ai_tags)])
    text = searchable_text(row)
    words = " ".join(sorted(index_words(row, text)))
    place: dict[str, Value] = {
        "progression_id": row.id,
        "project_id": row.project_id,
        "created_at": row.created_at,
        "text": text,
    }
    first, last = number_range(row.created_at)
    if tx.dialect == "postgresql":
        await tx.run(FILE_POSTGRESQL, **place, words=words)
    elif filed := await tx.one(FILE_SQLITE, _Filed, **place, first=first, last=last):
        await tx.run(UNFILE_WORDS_SQLITE, number=filed.number)
        await tx.run(FILE_WORDS_SQLITE, number=filed.number, words=words)


def number_range(created_at: int) -> tuple[int, int]:
    """The first and the last number of a millisecond: SQLite's index is kept in the order of pages."""
    first = min(created_at, LATEST) * AT_ONCE
    return first, first + AT_ONCE - 1


def fold(text: str) -> str:
    """The form in which texts are compared: without case, composed, control characters as spaces."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", folded)


def searchable_text(row: Progression) -> str:
    return END.join(map(fold, (row.prompt, *row.ai_notes, *row.ai_tags)))[:LENGTH]


def index_words(row: Progression, text: str) -> set[str]:
    """Words of three letters, at the end fewer, for the text; marked by an ASCII letter for the rest."""
    grams = {_letters(text[i : i + 3]) for i in range(len(text))}
    marked = {_marked("t", tag) for tag in searchable_tags(row.ai_tags)} | {
        _marked("p", row.project_id),
        _marked("a", row.ai_provider),
    }
    return grams | marked | ({_marked("j", row.judgment)} if row.judgment else set())


def _asked(wanted: Filter, conjunction: str, beginning: str) -> str:
    words = {_marked("p", wanted.project_id)} | {_marked("t", tag) for tag in wanted.tags}
    words |= {_marked("a", wanted.provider)} if wanted.provider else set()
    words |= {_marked("j", wanted.judgment)} if wanted.judgment else set()
    query = fold(wanted.query)
    if len(query) < 3:
        words |= {_letters(query) + beginning} if query else set()
    else:
        words |= {_letters(query[i : i + 3]) for i in range(0, len(query) - 2, 1 + len(query) // 10)}
    return conjunction.join(sorted(words))


def searchable_tags(tags: list[str]) -> set[str]:
    return {tag for tag in tags if 0 < len(tag) <= TAG and "\x00" not in tag}


class _Alphabet(dict[int, int]):
    """Every character as a letter outside ASCII: only those are the same to FTS5's and to tsvector's parser."""

    def __missing__(self, code: int) -> int:
        return code if chr(code).isalpha() else 0x4E00 + code % 0x5000


_ALPHABET = _Alphabet({code: 0x100 + code for code in range(128)})


def _letters(text: str) -> str:
    return text.translate(_ALPHABET)


def _marked(mark: str, text: str) -> str:
    return mark + _letters(text[:100])
