"""README.md and AGENTS.md tell the truth: what they name exists, and what exists they name."""

import asyncio
import importlib
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from litestar.routes import HTTPRoute, WebSocketRoute
from PIL import Image

from app.__main__ import make_parser
from app.settings import NAMES, read_settings
from generators import registry
from tests.docs.gallery import FOLDER, MOST_ALTOGETHER, MOST_BYTES, PICTURE
from tests.docs.model_table import vendors
from tests.support.environment import settings
from tools.models import catalog

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
AGENTS = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
PATH = re.compile(
    r"`((?:\.ci|app|graphs|tools|adapters|generators|migrations|seed|templates|tests)(?:/[\w.-]+)*/?"
    r"|[\w.-]+\.(?:md|toml|py|sql|html|yml|service))`"
)


def section(text: str, heading: str) -> str:
    """What stands under a second-level heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def blocks(text: str, language: str = "bash") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", [README, AGENTS], ids=["README", "AGENTS"])
def test_every_path_that_is_named_exists(text: str) -> None:
    """A guide that names what is not there is worse than none. What README has its reader write is made up."""
    named = set(PATH.findall(text)) - {"test_contact_sheet.py"}
    homes = [ROOT, *(ROOT / room for room in ("app", "tools", "graphs", "adapters", "generators", "tests"))]
    assert named and [path for path in sorted(named) if not any((home / path).exists() for home in homes)] == []


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_a_command_is_one_line_to_paste(heading: str) -> None:
    """Copy, paste, return: nothing to fill in, nothing else to know."""
    (command,) = blocks(section(README, heading))
    assert len(command.strip().splitlines()) == 1
    assert "-c .ci/constraints.txt" in command


def test_the_check_runs_the_readmes_command() -> None:
    """.ci/run reads the command out of README, so the two cannot differ."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script and "pytest" not in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def setting_rows() -> dict[str, str]:
    """The defaults in README's table of settings, by variable; a dash is no default."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .+ \|$", section(README, "Settings"), re.MULTILINE)
    return {name: "" if default == "–" else default.strip("`") for name, default in rows}


def test_every_setting_stands_in_the_readme() -> None:
    """No variable is secret knowledge, and none in the table is made up."""
    assert set(setting_rows()) == {*NAMES, "PICASSO_ENV"}


def test_the_defaults_in_the_readme_are_the_real_ones(tmp_path: Path) -> None:
    """The table's defaults, set one by one by hand, change nothing."""
    home = {"PICASSO_HOME": str(tmp_path)}
    rows = {**setting_rows(), **home}
    told = {name: text.format(**home, HOST=rows["HOST"], PORT=rows["PORT"]) for name, text in rows.items() if text}
    assert setting_rows()["PICASSO_HOME"] == ".picasso"
    assert read_settings(told) == read_settings(home)


def test_the_table_of_vendors_is_the_catalogues() -> None:
    """What README says that a vendor can do is what the catalogue says; see `tests/docs/model_table.py`."""
    assert vendors() in section(README, "What each vendor can do")


def test_the_example_of_prices_can_be_used(tmp_path: Path) -> None:
    """README's PRICES file is one, as it stands, and its table has every unit."""
    (example,) = blocks(section(README, "Prices"), "toml")
    (tmp_path / "prices.toml").write_text(example, encoding="utf-8")
    found = catalog.overrides(tmp_path / "prices.toml")
    assert [(model.provider, len(model.price)) for model in found.model] == [("openai", 1), ("workers", 1)]
    units = re.findall(r"`([a-z_]+)`", re.sub(r"\| is \|.*", "", section(README, "Prices").partition("| unit |")[2]))
    assert sorted(units) == sorted(get_args(catalog.Unit))


def test_every_kind_of_artifact_has_its_picture() -> None:
    """Each generator stands in README with a picture, its output and one line; `python -m tests.docs.gallery`
    makes them."""
    cells = re.findall(
        r"!\[([\w-]+)\]\(templates/gallery/([\w-]+)\.webp\)<br>\*\*`([\w-]+)`\*\* · (\w+)<br>[A-Z][^|]+\. (?=\|)",
        section(README, "What it makes"),
    )
    assert sorted(cells) == [(id, id, id, registry.known()[id].output) for id in registry.known()]


def test_the_gallery_is_small_and_holds_nothing_else() -> None:
    """No stray file; each picture opens, has the size they all have, and weighs little."""
    assert sorted(path.name for path in FOLDER.iterdir()) == [f"{id}.webp" for id in registry.known()]
    for path in FOLDER.iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("WEBP", PICTURE)
        assert path.stat().st_size <= MOST_BYTES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_ALTOGETHER


async def test_the_generator_of_ones_own_works(tmp_path: Path) -> None:
    """README's package, written down as it stands and installed as pip would, makes its artifact by its own test."""
    text = section(README, "A generator of your own")
    files = dict(re.findall(r"^`([\w/.]+)`[^\n]*\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    ((group, entries),) = project["entry-points"].items()
    facts = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()))
    before = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    registry.known.cache_clear()
    try:
        assert registry.find("contactSheet").name == "Contact sheet"
        await importlib.import_module("test_contact_sheet").test_every_image_is_on_the_sheet(tmp_path / "home")
    finally:
        sys.path.remove(str(tmp_path))
        registry.known.cache_clear()
        for name in {"contact_sheet", "test_contact_sheet"} - before:
            sys.modules.pop(name, None)


def test_every_command_stands_in_the_readme() -> None:
    """What `picasso --help` lists has a row."""
    listed = section(README, "Commands")
    commands = re.findall(r"^    ([a-z][a-z-]+)(?: |$)", make_parser().format_help(), re.MULTILINE)
    assert len(commands) == 9
    assert [command for command in commands if f"`picasso {command}" not in listed] == []


def requests() -> Iterator[tuple[str, str]]:
    """Method and path of every curl in the examples; ids stay shell variables."""
    for block in blocks(section(README, "The API by example")):
        for command in re.findall(r"curl ((?:\"(?:\\.|[^\"])*\"|'[^']*'|[^|)'\"\n])*)", block):
            words = shlex.split(command)
            address = next(word for word in words if word.startswith(("$P/", "$URL", "${URL")))
            path = re.sub(
                r"^\$\{?URL(%/public)?\}?", "/images/$ID" if "%" in address else "/images/$ID/public", address
            )
            yield _method(words), path.removeprefix("$P").partition("?")[0]


def _method(words: list[str]) -> str:
    if "-X" in words:
        return words[words.index("-X") + 1]
    return "POST" if {"-d", "-F"} & set(words) else "HEAD" if "-I" in words else "GET"


def test_every_route_has_an_example(tmp_path: Path) -> None:
    """A route without a line in README fails here, with its method and path."""
    from app.main import create_app

    shown = set(requests())
    missing: list[str] = []
    for route in create_app(settings(tmp_path)).routes:
        path = re.compile(re.sub(r"\{[^}]+:path\}", ".+", re.sub(r"\{[^}:]+(:(?!path)\w+)?\}", "[^/]+", route.path)))
        if isinstance(route, WebSocketRoute):
            missing += [] if re.search(r"wscat -c \"?ws://\S+/api/stream/", README) else [f"WS {route.path}"]
        elif isinstance(route, HTTPRoute):
            methods = set(route.methods) - {"OPTIONS", *({"HEAD"} if "GET" in route.methods else set())}
            missing += [
                f"{method} {route.path}"
                for method in sorted(methods)
                if not any(method == shown_method and path.fullmatch(at) for shown_method, at in shown)
            ]
    assert missing == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_examples_run_from_top_to_bottom(tmp_path: Path) -> None:
    """Whoever pastes README's API examples sees each of them work, in the order they stand there."""
    from tests.support.servers.picasso import running

    script = "".join(blocks(section(README, "The API by example")))
    strict = 'curl() { command curl --fail-with-body --silent --show-error --max-time 30 "$@"; }\n'
    async with running(tmp_path / ".picasso") as server:
        bash = await asyncio.create_subprocess_exec(
            "bash", "-euxo", "pipefail", "-c", strict + script.replace("http://127.0.0.1:8000", server.url),
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(bash.communicate(), 90)
    assert bash.returncode == 0, f"{err.decode()[-600:]}\n{out.decode()[-600:]}"
    assert (tmp_path / "boat.webp").read_bytes()[8:12] == b"WEBP"
    assert "data: {" in out.decode()
