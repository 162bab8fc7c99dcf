"""Valid keys of objects in BUCKET, the same for every backend."""

import re

from tools.errors import Invalid

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*")
"""No part of a key begins with a dot, so no key leaves the folder or is hidden from a listing."""
MAX_KEY = 512


def check_key(key: str) -> str:
    """The key, unchanged. Fails: Invalid (`bad_key`)."""
    if len(key) > MAX_KEY or not KEY.fullmatch(key):
        raise Invalid("not a key of BUCKET", code="bad_key", status=400)
    return key


def check_prefix(prefix: str) -> str:
    """The prefix of keys, unchanged; it may be empty or end with a slash. Fails: Invalid (`bad_key`)."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix
