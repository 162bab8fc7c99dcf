"""Pages of lists: `{"items": [...], "nextCursor": string|null}`.

Inserts do not shift pages, because a cursor is the sort key of a row.
"""

import base64
import binascii
from typing import Any, Generic, TypeVar

import msgspec

from tools.errors import Invalid

T = TypeVar("T")
LIMIT, MAX_LIMIT = 50, 200


class Page(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """Some rows of a list, and the cursor of the next page; None on the last one."""

    items: list[T]
    next_cursor: str | None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The sort key of the last row shown: time in UTC milliseconds, then id."""

    at: int
    id: str


START = Cursor(1 << 62, "")
"""Before the newest row, for lists that begin with the newest."""


def encode(cursor: Cursor) -> str:
    """The cursor as URL-safe Base64 without padding."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode(text: str | None) -> Cursor:
    """The cursor that a client sent back; `START` for None.

    Fails: Invalid (400, `bad_cursor`).
    """
    if text is None:
        return START
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        raise Invalid("this cursor was not made here", code="bad_cursor", status=400) from None


def page(rows: list[Any], limit: int, key: Any) -> Page[Any]:
    """The first `limit` of up to `limit + 1` rows read, with the cursor of the next page.

    `key(row)` is the row's Cursor.
    """
    return Page(rows[:limit], encode(key(rows[limit - 1])) if len(rows) > limit else None)
