"""Replies of a chat model made safe to show: as text, as Markdown or, by mistake, as HTML.

No rule looks beyond one word, so a reply may be sent word by word: the pieces together read like the whole.
"""

import re
from collections.abc import Set
from urllib.parse import urlsplit

LONGEST_REPLY = 8_000
REMOVED = "[link removed]"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]{0,30}:[\\/]{2}[^\s\"'`<>)\]]*|(?<![\w:/\\])[\\/]{2}[^\s\"'`<>)\]]*|(?<!\w)www\.[^\s\"'`<>)\]]*"
    r"|\b(?:javascript|vbscript|data|file|blob|mailto|tel)&?[:#][^\s\"'`<>)\]]+",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(?=[A-Za-z/!?&])")
_IMAGE = re.compile(r"(?<!!)!+(?=\[)")
_TARGET = re.compile(r"\](?=\()|\](?=:)")


def safe(text: str, origins: Set[str]) -> str:
    """The text without hidden characters, HTML tags, images, and links to any but these origins."""
    plain = _HIDDEN.sub("", _ESCAPES.sub("", text))
    plain = _LINK.sub(lambda link: link[0] if origin(link[0]) in origins else REMOVED, plain)
    return _TAG.sub("‹", _TARGET.sub("] ", _IMAGE.sub("", plain)))


def origin(url: str) -> str:
    """Scheme and host of an address as a browser reads them; empty for one that programs read differently."""
    if "\\" in url or "@" in url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else ""


def cut(text: str) -> str:
    """The reply, cut to `LONGEST_REPLY` characters."""
    return text if len(text) <= LONGEST_REPLY else f"{text[: LONGEST_REPLY - 1].rstrip()}…"
