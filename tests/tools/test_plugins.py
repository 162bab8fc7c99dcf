"""Plugins are loaded in the same way for providers and for generators, and one that cannot be loaded affects no
other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.api_calls import GUESTS, calling, environ, new_project, submit
from tests.support.deadlines import until
from tests.support.servers.picasso import running

ADAPTER = """
class Easel:
    id, free, needs, optional = "{id}", True, (), ()
    def supports(self, kind, model=None): return kind == "generate"
    def capabilities(self): return []
    def adjustments(self, op): return []
    def meter(self, op): return {{}}, {{}}
    async def prepare(self, op, env): return op
    async def send(self, request, env, on_progress): raise NotImplementedError

adapter = Easel()
"""
GENERATOR = """
import msgspec

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pages: int = 8

class Zine:
    id, name, output, options = "{id}", "Tiny zine", "json", Options
    async def generate(self, env, artifact, projects, options): raise NotImplementedError

generator = Zine()
"""
ADAPTERS = "from adapters.discovery import adapters_found as found; print(*found().found, *found().unusable, sep='\\n')"
GENERATORS = """
import logging
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
from generators.registry import decode_options, find, known
print(*known(), sep="\\n")
print(find("tinyZine").name, decode_options(find("tinyZine"), {"pages": 4}).pages)
"""


def install(site: Path, name: str, module: str, **entries: str) -> None:
    """Lay a package down as pip would: a module, and its entry points by the last word of their group."""
    site.mkdir(exist_ok=True)
    (site / f"{name}.py").write_text(module)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    text = "".join(f"[picasso.{group}]\n{name} = {value}\n" for group, value in entries.items())
    (info / "entry_points.txt").write_text(text)


def printed(site: Path, code: str) -> list[str]:
    """The lines that a process prints in which the packages of `site` are installed."""
    path = os.pathsep.join((str(site), str(Path.cwd())))
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


def bad(site: Path, group: str, good: str, word: str) -> None:
    """One package for each way in which an entry point can be of no use."""
    install(site, "no_module", "", **{group: f"not_there:{word}"})
    install(site, "breaks", "raise RuntimeError('first line\\nsecond line')", **{group: f"breaks:{word}"})
    install(site, "old_form", good.format(id="old"), **{group: "old_form"})
    install(site, "a_class", good.format(id="class") + f"\n{word} = type({word})", **{group: f"a_class:{word}"})
    install(site, "lacks", f"class Empty:\n    id = 'lacks'\n\n{word} = Empty()", **{group: f"lacks:{word}"})


UNUSABLE = {
    "a_class": "the object is no",
    "breaks": "RuntimeError: first line",
    "lacks": "the object is no",
    "no_module": "ModuleNotFoundError: No module named 'not_there'",
    "old_form": "the object is no",
    "twin": "is taken",
}


def test_adapters_of_other_packages_join_and_unusable_ones_are_left_out(tmp_path: Path) -> None:
    """`package:adapter` is a provider like any other; what cannot be used is one line with its name."""
    install(tmp_path, "guest", ADAPTER.format(id="guest"), adapters="guest:adapter")
    install(tmp_path, "twin", ADAPTER.format(id="sketch"), adapters="twin:adapter")
    bad(tmp_path, "adapters", ADAPTER, "adapter")
    lines = printed(tmp_path, ADAPTERS)
    assert lines[:5] == ["gemini", "guest", "openai", "sketch", "workers"]
    check_unusable(lines[5:])


def test_generators_of_other_packages_join_and_unusable_ones_are_left_out(tmp_path: Path) -> None:
    """`package:generator` is a kind like any other, alias and all; what cannot be used is one warning with its name."""
    install(tmp_path, "guest", GENERATOR.format(id="tiny-zine"), generators="guest:generator")
    install(tmp_path, "twin", GENERATOR.format(id="lookbook"), generators="twin:generator")
    bad(tmp_path, "generators", GENERATOR, "generator")
    *lines, last = printed(tmp_path, GENERATORS)
    assert last == "Tiny zine 4"
    warnings, ids = lines[: len(UNUSABLE)], lines[len(UNUSABLE) :]
    assert ids == sorted(ids) and {"tiny-zine", "lookbook"} <= {*ids} and "old" not in ids
    check_unusable(warnings)


def check_unusable(lines: list[str]) -> None:
    """One line for each, in the order of names."""
    assert len(lines) == len(UNUSABLE)
    for line, (name, reason) in zip(lines, UNUSABLE.items(), strict=True):
        assert f"'{name}'" in line and "is left out: " in line and reason in line


async def test_a_server_with_unusable_guests_warns_once_for_each_and_serves(tmp_path: Path) -> None:
    """The start does not end with a traceback: the rest runs."""
    site = tmp_path / "site"
    install(site, "twin", ADAPTER.format(id="sketch"), adapters="twin:adapter")
    install(site, "breaks", "raise RuntimeError('no')", adapters="breaks:adapter", generators="breaks:generator")
    path = os.pathsep.join((GUESTS, str(site)))
    async with running(tmp_path / "home", **environ(PYTHONPATH=path)) as server, calling(server) as client:
        await submit(client, await new_project(client))
        assert "lookbook" in (await client.get("/api/generators")).text

        def left_out() -> list[str]:
            warned = [line["msg"] for line in server.lines() if line["level"] == "warning"]
            return sorted(line.partition(" is left out")[0] for line in warned)

        await until(lambda: len(left_out()) == 3)
        assert left_out() == [
            "the adapter 'breaks' of the entry point 'breaks:adapter'",
            "the adapter 'twin' of the entry point 'twin:adapter'",
            "the generator 'breaks' of the entry point 'breaks:generator'",
        ]


@pytest.mark.parametrize("built_in", ["no plugin", "twins"])
def test_a_fault_of_our_own_is_not_passed_over(tmp_path: Path, built_in: str) -> None:
    """A module of ours that is no plugin, or takes another's id, ends the start: it would otherwise be missed."""
    package = tmp_path / "ours"
    package.mkdir()
    (package / "__init__.py").touch()
    texts = ["adapter = 7"] if built_in == "no plugin" else [ADAPTER.format(id="one")] * 2
    for number, text in enumerate(texts):
        (package / f"module{number}.py").write_text(text)
    code = (
        "import ours; from adapters.discovery import is_adapter; from tools.plugins import discover\n"
        "try:\n    discover(ours, 'adapter', 'picasso.none', is_adapter)\n"
        "except (TypeError, ValueError) as error:\n    import json; print(json.dumps(str(error)))"
    )
    [line] = printed(tmp_path, code)
    assert (
        json.loads(line)
        == {
            "no plugin": "ours.module0.adapter is no adapter",
            "twins": "ours.module1: the adapter id 'one' is taken",
        }[built_in]
    )
