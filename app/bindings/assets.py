"""ASSETS: the packaged `templates/` folder."""

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from tools.errors import NotFound

GALLERY = "gallery"
"""Pictures for README, which are in the repository and in no installation."""


class Packaged:
    """Files below one folder of the installation, read once; nothing else can be named."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def read(self, name: str) -> bytes:
        """The file's bytes. Fails: NotFound."""
        if name not in self._contents:
            raise NotFound("there is no such packaged file")
        return self._contents[name]

    def names(self) -> Iterable[str]:
        """Every file's path below the folder."""
        return self._contents.keys()


def open_assets() -> Packaged:
    """Every packaged template and public file, by its path below `templates/`."""
    found = _walk(files("templates"), "")
    return Packaged({name: data for name, data in found if not name.startswith(f"{GALLERY}/")})


def _walk(folder: Traversable, prefix: str) -> Iterable[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith((".", "__")):
            yield f"{prefix}{entry.name}", entry.read_bytes()
