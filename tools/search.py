"""Search over prompt, notes and tags of progressions, with equal results on SQLite and PostgreSQL.

A row is found when it contains every word of the query somewhere, also inside a word of its own; words in double quotes
stand together.

Each progression is indexed as a case-folded text and its trigrams (every three adjacent characters), written as words
of letters only, so that FTS5 and tsvector index them alike. A query of one or two characters is searched as the prefix
of a word. Different trigrams may become the same word: the index only narrows the search, and the text decides.
"""

import re
import unicodedata

import msgspec

from tools.env import Env, Statements, Value
from tools.models.verdicts import BUILTIN_NOTE
from tools.pages import Cursor
from tools.rows import Judgment, Progression, dump

WINDOW = 1_000
"""How many of the newest progressions PostgreSQL scans before it uses the index: common text is found there."""
AT_ONCE, LATEST = 1024, 1 << 52
"""Progressions of one millisecond that SQLite keeps in order; the last millisecond that fits into a row number."""
EVERY = 1 << 40
"""A row limit above any number of rows."""
LENGTH = 60_000
"""How many characters of a folded text can be found; the words of more do not fit into a tsvector."""
TAG = 500
"""The longest tag that can be filtered by; PostgreSQL's index takes no longer key."""
MARKS = str.maketrans({**dict.fromkeys("“”„‟«»＂", '"'), **dict.fromkeys("’‘‛＇`´", "'")})
"""Typographic quotation marks and apostrophes as those of keyboards."""
SINGLE = re.compile(r"(?<!\S)‘([^‘’]*)’(?!\S)")
"""A quotation in single marks; of keyboards' apostrophes there is none."""
TERM = re.compile(r'"([^"]*)"(?!\S)|(\S+)')
INDEXED_TERMS = 8
"""How many terms of a query, the longest ones, the index is asked for; the text decides on all."""
END = "\x1f"
"""Separates prompt, notes and tags in the text; no query contains it."""

SCAN_POSTGRESQL = """
SELECT p.* FROM progression_search AS s JOIN image_progressions AS p ON p.id = s.progression_id
WHERE s.project_id = :project_id AND (s.created_at, s.progression_id) < (:at, :id)
    AND s.created_at >= coalesce((SELECT created_at FROM progression_search
        WHERE project_id = :project_id AND (created_at, progression_id) < (:at, :id)
        ORDER BY created_at DESC, progression_id DESC LIMIT 1 OFFSET :window), 0)
    AND strpos(s.text, :query) > 0
    AND NOT EXISTS (SELECT 1 FROM json_array_elements_text(CAST(CAST(:others AS TEXT) AS JSON)) AS o (value)
        WHERE strpos(s.text, o.value) = 0)
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
        AND NOT EXISTS (SELECT 1 FROM json_array_elements_text(CAST(CAST(:others AS TEXT) AS JSON)) AS o (value)
            WHERE strpos(t.text, o.value) = 0)
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
    AND NOT EXISTS (SELECT 1 FROM json_each(:others) AS o WHERE instr(s.text, o.value) = 0)
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
    """Conditions on a list of progressions, combined with AND. Tags are compared folded; of `query` see `terms`."""

    project_id: str
    query: str = ""
    tags: list[str] = []
    provider: str | None = None
    judgment: Judgment | None = None


class _RowNumber(msgspec.Struct, frozen=True):
    number: int


async def find(env: Env, wanted: Filter, cursor: Cursor, limit: int) -> list[Progression]:
    """The progressions before the cursor that match the filter, newest first, at most `limit`."""
    longest, *others = terms(wanted.query) or [""]
    params: dict[str, Value] = {
        "project_id": wanted.project_id,
        "query": longest,
        "others": dump(others),
        "provider": wanted.provider,
        "judgment": wanted.judgment,
        "tags": dump([fold(tag).strip() for tag in wanted.tags]),
        "at": cursor.at,
        "id": cursor.id,
    }
    if env.DB.dialect == "sqlite":
        return await _find_sqlite(env.DB, params | {"words": _query_words(wanted, " AND ", "*")}, cursor.at, limit)
    return await _find_postgresql(env.DB, params, _query_words(wanted, " & ", ":*"), limit)


async def _find_sqlite(tx: Statements, params: dict[str, Value], at: int, limit: int) -> list[Progression]:
    """FTS5 walks its index from the highest row number down and stops when the page is full.

    Row numbers follow time. Pages order the rows of one millisecond by id, so its last millisecond is read whole.
    """
    rows = await tx.all(WALK_SQLITE, Progression, **params, first=0, last=number_range(at)[1], limit=limit)
    if len(rows) == limit:
        oldest = rows[-1].created_at
        first, last = number_range(oldest)
        same = await tx.all(WALK_SQLITE, Progression, **params, first=first, last=last, limit=AT_ONCE)
        rows = [row for row in rows if row.created_at > oldest] + same
    return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)[:limit]


async def _find_postgresql(tx: Statements, params: dict[str, Value], words: str, limit: int) -> list[Progression]:
    """Scan the newest `WINDOW` rows, which fills the page when the text is common; else use the GIN index.

    Of the rows with the words, the newest `2 * limit` are compared first, and all of them when too few match.
    """
    rows = await tx.all(SCAN_POSTGRESQL, Progression, **params, window=WINDOW, limit=limit)
    for most in (2 * limit, EVERY):
        if len(rows) == limit:
            break
        rows = await tx.all(INDEX_POSTGRESQL, Progression, **params, words=words, most=most, limit=limit)
    return rows


async def index(tx: Statements, row: Progression) -> None:
    """Index the progression under its present prompt, notes, tags and judgment, in place of what was indexed before."""
    await tx.run(UNFILE_TAGS, progression_id=row.id)
    await tx.many(FILE_TAG, [{"progression_id": row.id, "tag": tag} for tag in searchable_tags(row.ai_tags)])
    text = searchable_text(row)
    words = " ".join(sorted(index_words(row, text)))
    columns: dict[str, Value] = {
        "progression_id": row.id,
        "project_id": row.project_id,
        "created_at": row.created_at,
        "text": text,
    }
    first, last = number_range(row.created_at)
    if tx.dialect == "postgresql":
        await tx.run(FILE_POSTGRESQL, **columns, words=words)
    elif indexed := await tx.one(FILE_SQLITE, _RowNumber, **columns, first=first, last=last):
        await tx.run(UNFILE_WORDS_SQLITE, number=indexed.number)
        await tx.run(FILE_WORDS_SQLITE, number=indexed.number, words=words)


def number_range(created_at: int) -> tuple[int, int]:
    """The first and the last row number of a millisecond in SQLite's index, whose order is that of the pages."""
    first = min(created_at, LATEST) * AT_ONCE
    return first, first + AT_ONCE - 1


def fold(text: str) -> str:
    """The form in which texts are compared: case-folded, NFC, marks of one kind, control characters as spaces."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(MARKS)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", folded)


def terms(query: str) -> list[str]:
    """The folded texts that a row must contain: words, and what stands in double quotes, or in typographic ones; the
    longest first.

    A quote inside a word, or without its partner, is a character like any other, and so is a minus.
    """
    found = (quoted.strip() or word for quoted, word in TERM.findall(fold(SINGLE.sub(r'"\1"', query))))
    return sorted(dict.fromkeys(filter(None, found)), key=len, reverse=True)


def searchable_text(row: Progression) -> str:
    """Prompt, notes and tags, folded, at most `LENGTH` characters; without the note that is about the judge."""
    notes = [note for note in row.ai_notes if note != BUILTIN_NOTE]
    return END.join(map(fold, (row.prompt, *notes, *row.ai_tags)))[:LENGTH]


def index_words(row: Progression, text: str) -> set[str]:
    """The words to index: trigrams of the text and the tags, and project, provider and judgment with a prefix.

    The prefix is an ASCII letter, which no trigram contains.
    """
    parts = (text, *searchable_tags(row.ai_tags))
    trigrams = {_letters(part[i : i + 3]) for part in parts for i in range(len(part))}
    fields = {_prefixed("p", row.project_id), _prefixed("a", row.ai_provider)}
    return trigrams | fields | ({_prefixed("j", row.judgment)} if row.judgment else set())


def _query_words(wanted: Filter, conjunction: str, prefix: str) -> str:
    """The filter as a query for the index; `prefix` is the operator for the beginning of a word."""
    words = {_prefixed("p", wanted.project_id)}
    words |= {_prefixed("a", wanted.provider)} if wanted.provider else set()
    words |= {_prefixed("j", wanted.judgment)} if wanted.judgment else set()
    tags = sorted({fold(tag).strip() for tag in wanted.tags}, key=len, reverse=True)
    for term in [*tags[:INDEXED_TERMS], *terms(wanted.query)[:INDEXED_TERMS]]:
        # The index of rows that are older than the folding of marks has these as they were typed.
        pieces = [term[i : i + 3] for i in range(0, len(term) - 2, 1 + len(term) // 10)] or [term]
        plain = [piece for piece in pieces if not set(piece) & set("\"'")]
        words |= {_letters(piece) + (prefix if len(piece) < 3 else "") for piece in plain}
    return conjunction.join(sorted(words))


def searchable_tags(tags: list[str]) -> set[str]:
    """The tags that can be filtered by, folded: not empty, at most `TAG` characters."""
    return {folded for tag in tags if 0 < len(folded := fold(tag).strip()) <= TAG}


class _Alphabet(dict[int, int]):
    """Maps every character to a letter outside ASCII: FTS5 and tsvector split words at anything else differently."""

    def __missing__(self, code: int) -> int:
        return code if chr(code).isalpha() else 0x4E00 + code % 0x5000


_ALPHABET = _Alphabet({code: 0x100 + code for code in range(128)})


def _letters(text: str) -> str:
    return text.translate(_ALPHABET)


def _prefixed(prefix: str, text: str) -> str:
    return prefix + _letters(text[:100])
