"""The files that contributors' tools read: the CI workflow, the hooks before a commit, the forms for issues."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_the_readmes_command_on_every_python() -> None:
    """CI runs `.ci/run` and nothing of its own, from the oldest Python that pyproject.toml allows on."""
    job = load(".github/workflows/ci.yml")["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if step.get("name") == "Check and test"] == [".ci/run"]
    versions = job["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={versions[0]}"
    assert versions == [f"3.{minor}" for minor in range(11, 11 + len(versions))]


def test_the_hooks_need_no_network() -> None:
    """Each hook is local and runs a program that the development extra installs."""
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    programs = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert all(hook["language"] == "system" for hook in repository["hooks"])


def test_the_issue_forms_are_forms() -> None:
    """Each form has a name, a description and fields, with one label and one id each."""
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = [load(f".github/ISSUE_TEMPLATE/{path.name}") for path in folder.glob("*.yml") if path.stem != "config"]
    assert len(forms) == 2
    for form in forms:
        assert form["name"] and form["description"]
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids) and all(field["attributes"]["label"] for field in form["body"])


def test_the_changelog_begins_with_what_is_to_come_and_has_this_version() -> None:
    """Its versions are the unreleased one and then the released ones; the newest is that of pyproject.toml."""
    text = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[:2] == ["Unreleased", project["version"]]
