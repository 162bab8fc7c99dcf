"""People write from right to left, too: their words get their own direction on pages whose own words are English."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from generators import registry
from tests.support.samples import finished_project
from tests.support.samples.page_site import add_project, pages_env
from tools import db
from tools.publishing import artifacts

PAGES = [id for id in registry.known() if registry.find(id).output == "html"]
VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})
SHALOM = "\u05e9\u05dc\u05d5\u05dd"
OURS = re.compile("|".join([*(model for _, model in finished_project.MAKERS), "the seed is not used"]))
"""What no person wrote: names of models, and what we say of a request."""
TITLE = f"{SHALOM}, autumn"


class Directions(HTMLParser):
    """The texts with a Hebrew word that stand in no element with `dir="auto"`, in no `bdi` and in no isolate."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, bool]] = []
        self.without: list[str] = []
        self.found = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append((tag, tag == "bdi" or ("dir", "auto") in attrs))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if SHALOM in data.replace(f"\u2068{SHALOM}", ""):
            self.found += 1
            # Nearer than the body: the direction of one text must not decide on another's.
            if not any(free for _, free in self.open[-3:]):
                self.without.append(data.strip()[:60])


@pytest.mark.parametrize("id", PAGES)
async def test_peoples_words_have_their_own_direction(tmp_path: Path, id: str) -> None:
    """Titles, prompts, names, notes and tags are each in an element that takes its direction from them."""
    async with pages_env(tmp_path) as env:
        await finished_project.seed(env, words=lambda text: text if OURS.search(text) else f"{SHALOM} {text}")
        await add_project(env, "empty", SHALOM)
        draft = artifacts.draft(generator_id=id, title=TITLE, owner_id="default", options={})
        projects = [await db.get_project(env, project) for project in ("p", "empty")]
        generator = registry.find(id)
        output = await generator.generate(env, draft, projects, registry.decode_options(generator, {}))
    page = Directions(output.index.data.decode())
    assert page.found > 3 and page.without == []
