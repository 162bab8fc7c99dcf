"""The type of an image by its first bytes; the type that a vendor declares is not trusted."""

import re

MAGIC = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def mime_of(data: bytes) -> str | None:
    """The MIME type of a PNG, JPEG or WebP; None for anything else."""
    return next((mime for mime, magic in MAGIC.items() if magic.match(data)), None)
