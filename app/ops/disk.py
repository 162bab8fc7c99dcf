"""Whether the disks that hold this installation's data can take more."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.bindings.files import FULL, folder_of
from app.settings import Settings, unquoted
from tools.errors import Unavailable

PROBE_BYTES = 256 << 10


def check_disks(settings: Settings) -> None:
    """Write PROBE_BYTES into each folder that data is kept in, and take them back. Blocks; call it on a thread.

    Fails: Unavailable (`disk_full`, `disk_unavailable`) naming the setting whose folder takes nothing.
    """
    for name, folder in _folders(settings):
        try:
            # Nameless where the system can do that; random, because some disks keep zeros in no space.
            # A folder that is missing is its binding's matter, and before the first start all of them are.
            near = next(each for each in (folder, *folder.parents) if each.is_dir())
            with tempfile.TemporaryFile(dir=near) as file:
                file.write(os.urandom(PROBE_BYTES))
        except OSError as error:
            if error.errno in FULL:
                raise Unavailable(f"the disk of {name} is full", code="disk_full") from error
            known = errno.errorcode.get(error.errno or 0, "an error")
            raise Unavailable(f"the disk of {name} cannot be written: {known}", code="disk_unavailable") from error


def free_bytes(settings: Settings) -> dict[str, int]:
    """The bytes that are free for each folder that data is kept in, by setting; one that is missing is left out.
    Blocks."""
    found: dict[str, int] = {}
    for name, folder in _folders(settings):
        with contextlib.suppress(OSError):
            found[name] = shutil.disk_usage(folder).free
    return found


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The folders of this machine that are written, by the setting that names each."""
    if settings.redis_url is None:
        yield "PICASSO_HOME", settings.home
    if settings.db.startswith("sqlite:"):
        yield "DB", unquoted(settings.db.removeprefix("sqlite:///")).parent
    for name, address in (("BUCKET", settings.bucket), ("IMAGES", settings.images)):
        if address.startswith("file:"):
            yield name, folder_of(address)
