"""README.md, AGENTS.md and the pages of documentation are true: what they name exists, and what exists they name."""

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
from app.routes.docs import PAGES, anchor_of
from app.settings import NAMES, read_settings, vendor_names
from generators import registry
from tests.docs.gallery import FOLDER, MOST_ALTOGETHER, MOST_BYTES, PICTURE, STRIP, strip_size
from tests.docs.model_table import vendors
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tools.models import catalog

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
AGENTS = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
DOCS = {name: (ROOT / "templates" / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}
GUIDES = {
    "README.md": README,
    "AGENTS.md": AGENTS,
    ".github/CONTRIBUTING.md": (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    ".github/CHANGELOG.md": (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8"),
    **{f"templates/docs/{name}.md": text for name, text in DOCS.items()},
}
each_guide = pytest.mark.parametrize("name", GUIDES)
PATH = re.compile(
    r"`((?:\.ci|\.github|app|graphs|tools|adapters|generators|migrations|seed|templates|tests)(?:/[\w.-]+)*/?"
    r"|[\w.-]+\.(?:md|toml|py|sql|html|yml|service))`"
)


def section(text: str, heading: str) -> str:
    """What is under a second-level heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def blocks(text: str, language: str = "bash") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@each_guide
def test_every_path_that_is_named_exists(name: str) -> None:
    """A guide that names what is not there is worse than none. What the plugins' page has its reader write is not."""
    named = set(PATH.findall(GUIDES[name])) - {"test_contact_sheet.py"}
    homes = [ROOT, *(ROOT / room for room in ("app", "tools", "graphs", "adapters", "generators", "tests"))]
    assert [path for path in sorted(named) if not any((home / path).exists() for home in homes)] == []


@each_guide
def test_every_link_leads_somewhere(name: str) -> None:
    """A link leads to a file of the repository, and its anchor to a heading there; none leads to another host."""
    for address, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", without_code(GUIDES[name])):
        target = (ROOT / name).parent / address if address else ROOT / name
        assert target.is_file(), address
        if anchor:
            headings = re.findall(r"^##+ (.+)$", without_code(target.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in map(anchor_of, headings), f"{address}#{anchor}"


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_page_is_reached() -> None:
    """README and the first page link to each page of `templates/docs/`, and there is no page that the menu lacks."""
    assert sorted(path.stem for path in (ROOT / "templates" / "docs").glob("*.md")) == sorted(PAGES)
    for name in set(PAGES) - {"index"}:
        assert f"](templates/docs/{name}.md" in README and f"]({name}.md" in DOCS["index"], name


def test_the_first_two_screens_are_enough_to_begin() -> None:
    """A picture, what it is, how to run it, five things to do next and how to test it, within sixty lines."""
    opening = README.splitlines()[:60]
    assert re.fullmatch(r"!\[.+\]\(templates/gallery/strip\.webp\)", opening[2])
    assert opening.index("## Run it") < opening.index("## Test it")
    assert [line[:2] for line in opening if re.match(r"\d\. \*\*", line)] == ["1.", "2.", "3.", "4.", "5."]


def test_the_commands_to_do_next_are_understood() -> None:
    """Every `picasso` command that README shows in its text can be parsed by the command line."""
    shown = re.findall(r"`\.venv/bin/picasso ([^`]+)`", README)
    assert len(shown) >= 2
    for command in shown:
        make_parser().parse_args(shlex.split(command))


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
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.+?) \| .+ \|$", section(README, "Settings"), re.MULTILINE)
    return {name: "" if default == "–" else default.strip("`") for name, default in rows}


def test_every_setting_stands_in_the_readme() -> None:
    """No variable is secret knowledge, and none in the table is made up."""
    assert set(setting_rows()) == {*NAMES, *vendor_names(), "PICASSO_ENV"}


def test_the_defaults_in_the_readme_are_the_real_ones(tmp_path: Path) -> None:
    """The table's defaults, set one by one by hand, change nothing."""
    home = {"PICASSO_HOME": str(tmp_path)}
    rows = {**setting_rows(), **home}
    told = {name: text.format(**home, HOST=rows["HOST"], PORT=rows["PORT"]) for name, text in rows.items() if text}
    assert setting_rows()["PICASSO_HOME"] == ".picasso"
    assert read_settings(told) == read_settings(home)


def test_the_table_of_vendors_is_the_catalogues() -> None:
    """What the page says that a vendor can do is what the catalogue says; see `tests/docs/model_table.py`."""
    assert vendors() in section(DOCS["vendors"], "What each vendor can do")


def test_the_example_of_prices_can_be_used(tmp_path: Path) -> None:
    """The page's PRICES file can be used as it stands, and its table has every unit."""
    prices = section(DOCS["money"], "Prices")
    (example,) = blocks(prices, "toml")
    (tmp_path / "prices.toml").write_text(example, encoding="utf-8")
    found = catalog.overrides(tmp_path / "prices.toml")
    assert [(model.provider, len(model.price)) for model in found.model] == [("openai", 1), ("workers", 1)]
    units = re.findall(r"`([a-z_]+)`", prices.partition("| unit |")[2])
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
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted([*registry.known(), STRIP])
    for path in FOLDER.iterdir():
        with Image.open(path) as picture:
            picture.load()
            size = strip_size() if path.stem == STRIP else PICTURE
            assert (path.suffix, picture.format, picture.size) == (".webp", "WEBP", size)
        assert path.stat().st_size <= MOST_BYTES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_ALTOGETHER


async def test_the_generator_of_ones_own_works(tmp_path: Path) -> None:
    """The page's package, written down as it stands and installed as pip would, makes its artifact by its own test."""
    text = section(DOCS["plugins"], "A generator of your own")
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
    assert len(commands) == 18
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
    """Whoever pastes README's API examples sees each of them work, in the order they stand there; and so do the
    commands of the page on operations, beside the server that runs."""
    from tests.support.servers.picasso import running

    async def run(script: str, folder: Path) -> str:
        said = tmp_path / "said.txt"
        with said.open("w") as file:
            bash = await asyncio.create_subprocess_exec(
                "bash", "-euxo", "pipefail", "-c", script, cwd=folder, stdout=file, stderr=file
            )
            try:
                async with asyncio.timeout(4 * LONG):
                    status = await bash.wait()
            except TimeoutError:
                bash.kill()
                status = await bash.wait()
        assert status == 0, said.read_text()[-1200:]
        return said.read_text()

    script = "".join(blocks(section(README, "The API by example")))
    strict = f'curl() {{ command curl --fail-with-body --silent --show-error --max-time {LONG:.0f} "$@"; }}\n'
    # An installation as README makes it, whose data are those of the server.
    installed = tmp_path / "installed"
    (installed / ".venv" / "bin").mkdir(parents=True)
    (installed / ".picasso").symlink_to(tmp_path / ".picasso")
    command = installed / ".venv" / "bin" / "picasso"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m app "$@"\n')
    command.chmod(0o755)
    async with running(tmp_path / ".picasso") as server:
        said = await run(strict + script.replace("http://127.0.0.1:8000", server.url), tmp_path)
        await run("".join(blocks(DOCS["operations"])), installed)
    assert (tmp_path / "boat.webp").read_bytes()[8:12] == b"WEBP"
    assert "data: {" in said
    for home in ("restored", "moved"):
        assert (installed / home / "api_key").read_text() == (tmp_path / ".picasso" / "api_key").read_text()
    assert not (installed / ".picasso").exists()
