"""The request header `Prefer` (RFC 7240), as far as it says how long a caller wants to wait."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tools.publishing.renders import WAIT_SECONDS

PREFERENCE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*\"?([^\",;]*)\"?)?[^,]*")


class Patience(NamedTuple):
    """How long the answer may take in seconds, None for not at all, and what `Preference-Applied` says of it."""

    seconds: float | None
    applied: dict[str, str]


def patience(headers: Sequence[str]) -> Patience:
    """`respond-async` wants an answer at once, with `wait=n` after n seconds; without it one waits, for a while."""
    found = [PREFERENCE.match(part.strip()) for header in headers for part in header.split(",")]
    wanted: dict[str, str] = {}
    for match in filter(None, found):
        wanted.setdefault(match[1].lower(), (match[2] or "").strip())
    if "respond-async" not in wanted:
        return Patience(WAIT_SECONDS, {})
    wait = wanted.get("wait", "")
    if not wait.isascii() or not wait.isdigit():
        return Patience(None, {"Preference-Applied": "respond-async"})
    seconds = min(float(wait[:9]), WAIT_SECONDS)
    return Patience(seconds or None, {"Preference-Applied": f"respond-async, wait={round(seconds)}"})
