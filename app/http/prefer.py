"""The request header `Prefer` (RFC 7240), as far as it concerns how long a caller wants to wait."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tools.publishing.renders import WAIT_SECONDS

PREFERENCE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*\"?([^\",;]*)\"?)?[^,]*")


class Wait(NamedTuple):
    """How many seconds to wait for a result before responding 202, None for not at all; and the response's headers."""

    seconds: float | None
    headers: dict[str, str]


def preferred_wait(headers: Sequence[str]) -> Wait:
    """How long the caller wants to wait, from the values of its `Prefer` headers.

    `respond-async` responds at once, `respond-async, wait=n` after n seconds; both are at most WAIT_SECONDS, which
    also holds without the header. `headers` is the `Preference-Applied` to send.
    """
    found = [PREFERENCE.match(part.strip()) for header in headers for part in header.split(",")]
    wanted: dict[str, str] = {}
    for match in filter(None, found):
        wanted.setdefault(match[1].lower(), (match[2] or "").strip())
    if "respond-async" not in wanted:
        return Wait(WAIT_SECONDS, {})
    wait = wanted.get("wait", "")
    if not wait.isascii() or not wait.isdigit():
        return Wait(None, {"Preference-Applied": "respond-async"})
    seconds = min(float(wait[:9]), WAIT_SECONDS)
    return Wait(seconds or None, {"Preference-Applied": f"respond-async, wait={round(seconds)}"})
