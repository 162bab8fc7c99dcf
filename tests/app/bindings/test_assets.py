import tomllib
from pathlib import Path

import pytest

from app.bindings.assets import open_assets
from tools.errors import NotFound


def test_every_packaged_file_is_read_by_its_name() -> None:
    """The names are the paths below `templates/`, the bytes those of the files; README's gallery is none of them, and
    no wheel carries it."""
    assets = open_assets()
    here = {str(path.relative_to("templates")): path for path in Path("templates").rglob("*") if path.is_file()}
    files = {name: path for name, path in here.items() if not name.startswith("gallery/")}
    built = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "templates/gallery" in built["exclude"] and len(files) < len(here)
    assert set(assets.names()) == files.keys()
    assert all(assets.read(name) == path.read_bytes() for name, path in files.items())


@pytest.mark.parametrize(
    "name", ["", "public", "../pyproject.toml", "public/../lookbook.html", "/lookbook.html", "lookbook.html\0"]
)
def test_nothing_else_can_be_named(name: str) -> None:
    """A name is looked up, never resolved."""
    with pytest.raises(NotFound):
        open_assets().read(name)
