"""Projects, progressions, lineage, uploads and knowledge: the same results from both databases."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bindings.database.sqlite import Sqlite
from app.ops.migrate import apply, packaged
from tests.support.environment import bare_env
from tools import db, search
from tools.env import Env
from tools.errors import Invalid, NotFound, Violation
from tools.rows import Criterion, Progression, StoredImage, derived_id, new_id, now_ms, params

MARKS = st.sampled_from(list("%_\"'\\*&|!():<>-^.,;$@#[]{}?+~`/= \t\n\x1f"))
LETTERS = st.sampled_from(
    [*"aAbBsSiIzZ", "ß", "ſ", "İ", "ı", "é", "e\u0301", "Σ", "ς", "ΐ", "日", "本", "🎨", "👩‍🚀", "\u3000", "\xa0"]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
TEXTS = st.one_of(st.lists(st.one_of(LETTERS, MARKS), max_size=14).map("".join), TEXT)
QUERIES = TEXTS.filter(bool)
STORIES = st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=2), st.lists(TEXTS, max_size=3)), min_size=1, max_size=5)


FILE_BEFORE = """
INSERT INTO progression_search (number, progression_id, project_id, created_at, text)
VALUES (:number, :id, 'p', :at, :text)
"""


class Tagged(msgspec.Struct, frozen=True):
    progression_id: str
    tag: str


@pytest.fixture
async def env(database_url: str, tmp_path: Path) -> AsyncIterator[Env]:
    async with bare_env(tmp_path, database_url) as env:
        yield env


@pytest.fixture
async def both(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[Env]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(bare_env(tmp_path / "lite")),
            await stack.enter_async_context(bare_env(tmp_path / "post", postgres_url)),
        ]


def progression(project_id: str, **given: Any) -> Progression:
    plain: dict[str, Any] = {
        **dict.fromkeys(Progression.__struct_fields__),
        "id": new_id(),
        "project_id": project_id,
        "prompt": "a red boat",
        "generated_image_url": "https://images.example/1/public",
        "original_image_r2_key": "project/p/jobs/j/orig/sketch-0",
        "ai_provider": "sketch",
        "ai_notes": [],
        "ai_tags": [],
        "created_at": now_ms(),
        "edge": "generate",
        "variant_index": 0,
        "judge_status": "ok" if given.get("judgment") else "skipped",
        "criteria": [],
        "width": 64,
        "height": 48,
        "sha256": "a" * 64,
        "adjustments": [],
        "cost_usd": 0,
        **given,
    }
    return Progression(**plain)


async def insert(env: Env, *rows: Progression) -> None:
    async with env.DB.transaction() as tx:
        for row in rows:
            assert await db.insert_progression(tx, row)


async def found(env: Env, project_id: str, limit: int = 200, **asked: Any) -> list[str]:
    """The ids of a whole list, read page by page."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await db.list_progressions(env, project_id, cursor=cursor, limit=limit, **asked)
        assert len(page.items) <= limit
        ids += [row.id for row in page.items]
        if (cursor := page.next_cursor) is None:
            return ids


# Projects


async def test_a_project_is_created_read_and_changed(env: Env) -> None:
    """Fields that a change does not name stay, None clears, and an unknown project is NotFound."""
    made = await db.create_project(env, "Café", "boats")
    assert await db.get_project(env, made.id) == made
    patched = await db.patch_project(env, made.id, db.ProjectChanges(budget_micros=5_000_000))
    assert (patched.name, patched.description, patched.budget_micros) == ("Café", "boats", 5_000_000)
    cleared = await db.patch_project(env, made.id, db.ProjectChanges(name="Sea", description=None, budget_micros=None))
    assert (cleared.name, cleared.description, cleared.budget_micros) == ("Sea", None, None)
    assert await db.get_project(env, made.id) == cleared
    for unknown in (db.get_project(env, "x"), db.patch_project(env, "x", db.ProjectChanges(name="y"))):
        with pytest.raises(NotFound):
            await unknown


async def test_a_clock_that_steps_back_moves_no_project(env: Env) -> None:
    """`updated_at` is never before `created_at` nor before an earlier change."""
    made = await db.create_project(env, "later")
    ahead = made.created_at + 3_600_000
    await env.DB.run("UPDATE projects SET created_at = :t, updated_at = :t WHERE id = :id", t=ahead, id=made.id)
    await env.DB.run("UPDATE projects SET name = 'now' WHERE id = :id", id=made.id)
    patched = await db.patch_project(env, made.id, db.ProjectChanges(name="again"))
    await insert(env, progression(made.id))
    assert patched.updated_at == (await db.get_project(env, made.id)).updated_at == ahead


async def test_projects_are_listed_by_their_last_change(env: Env) -> None:
    """A change, also a new progression, moves a project to the front; the pages list each project once."""
    made = [await db.create_project(env, str(i)) for i in range(7)]
    for i, project in enumerate(made):
        await env.DB.run(
            "UPDATE projects SET created_at = 1, updated_at = :t WHERE id = :id", t=100 + i // 2, id=project.id
        )
    await insert(env, progression(made[2].id))
    names: list[str] = []
    cursor = None
    while cursor is not None or not names:
        page = await db.list_projects(env, cursor, 2)
        names += [project.name for project in page.items]
        cursor = page.next_cursor
    assert names[:2] == ["2", "6"]
    assert sorted(names) == sorted("0123456")


# Progressions


async def test_a_progression_is_stored_once(env: Env) -> None:
    """Every column is read back; inserting the same id again changes nothing and returns False."""
    project = await db.create_project(env, "p")
    row = progression(
        project.id,
        ai_notes=["é ok"],
        ai_tags=["boat", "red", "boat"],
        judgment="pass",
        criteria=[Criterion("a boat", True, "bow")],
        seed=2**53,
        adjustments=["size rounded"],
        cost_usd=39_000,
        phash="0" * 16,
    )
    await insert(env, row)
    async with env.DB.transaction() as tx:
        assert not await db.insert_progression(tx, msgspec.structs.replace(row, prompt="another", ai_tags=["new"]))
    assert await db.get_progression(env, row.id) == row
    assert await found(env, project.id, tags=["new"]) == []
    with pytest.raises(NotFound):
        await db.get_progression(env, "x")
    with pytest.raises(Violation) as raised:
        await insert(env, progression("no such project"))
    assert raised.value.kind == "foreign_key"


async def test_a_judgment_changes_what_finds_the_progression(env: Env) -> None:
    """Notes, tags and judgment replace the former ones, in the row and in the search."""
    project = await db.create_project(env, "p")
    row = progression(project.id, ai_tags=["draft"], ai_notes=["not judged"])
    await insert(env, row)
    async with env.DB.transaction() as tx:
        judged = await db.update_judgment(
            tx, row.id, "ok", "fail", ["No Sail"], ["boat"], [Criterion("sail", False, "none")], "add a sail", 0.75
        )
    assert judged == await db.get_progression(env, row.id)
    assert (judged.judgment, judged.ai_notes, judged.coverage) == ("fail", ["No Sail"], 0.75)
    for asked in ({"query": "no sail"}, {"tags": ["boat"]}, {"judgment": "fail"}, {"query": "BOAT", "tags": ["boat"]}):
        assert await found(env, project.id, **asked) == [row.id], asked
    for asked in ({"query": "not judged"}, {"tags": ["draft"]}, {"query": "draft"}, {"judgment": "pass"}):
        assert await found(env, project.id, **asked) == [], asked
    assert await env.DB.all("SELECT * FROM progression_tags", Tagged) == [Tagged(row.id, "boat")]
    with pytest.raises(NotFound):
        async with env.DB.transaction() as tx:
            await db.update_judgment(tx, "x", "skipped", None, [], [], [], None, None)


async def test_filters_hold_together(env: Env) -> None:
    """All tags must match as wholes, in any case and form; provider, judgment, tags and query are combined with AND."""
    project, other = await db.create_project(env, "p"), await db.create_project(env, "other")
    rows = [
        progression(project.id, id="1", ai_tags=["red", "boat"], ai_provider="openai", judgment="pass", created_at=1),
        progression(project.id, id="2", ai_tags=["red"], ai_provider="openai", judgment="fail", created_at=2),
        progression(project.id, id="3", ai_tags=["red", "\u00c9t\u00e9"], ai_provider="gemini", created_at=3),
        progression(other.id, id="4", ai_tags=["red", "boat"], ai_provider="openai", judgment="pass", created_at=4),
    ]
    await insert(env, *rows)
    assert await found(env, project.id) == ["3", "2", "1"]
    for red in ("red", "Red", " RED "):
        assert await found(env, project.id, tags=[red]) == ["3", "2", "1"], red
    for summer in ("\u00e9t\u00e9", "E\u0301TE\u0301"):
        assert await found(env, project.id, tags=["red", summer]) == ["3"], summer
    assert await found(env, project.id, tags=["red", "boat"]) == ["1"]
    assert await found(env, project.id, tags=["red"], provider="openai") == ["2", "1"]
    assert await found(env, project.id, provider="openai", judgment="fail", query="RED") == ["2"]
    assert await found(env, project.id, provider="open") == []
    assert await found(env, project.id, tags=["re"]) == []
    with pytest.raises(NotFound):
        await db.list_progressions(env, "no such project")


async def test_marks_of_query_languages_are_literal(env: Env) -> None:
    """`%_"'\\` and the operators of the indexes are searched literally."""
    project = await db.create_project(env, "p")
    await insert(env, progression(project.id, prompt="axb 1000 or say hi"))
    for query in (
        "100%",
        "a_b",
        'say "hi"',
        "it's",
        "-3 -boat",
        "C:\\x",
        "%",
        "_",
        "\\",
        "'",
        '"',
        "OR '1'='1",
        "a* NOT b",
        "(a & b)",
        "a:*",
    ):
        row = progression(project.id, prompt=f"it is {query} here")
        await insert(env, row)
        assert row.id in await found(env, project.id, query=query)
        if '"' not in query:
            assert len(await found(env, project.id, query=f'"is {query} here"')) == 1, query
    await insert(env, progression(project.id, id="typeset", prompt="the fox’s den is 6” wide"))
    for query in ("fox's", "fox’s", 'Fox’s 6"', "6”", '"fox\'s den" wide'):
        assert await found(env, project.id, query=query) == ["typeset"], query


async def test_every_word_must_be_there_and_quoted_words_together(env: Env) -> None:
    """Words in any order, anywhere in prompt, notes and tags; those in double quotes as they stand."""
    project = await db.create_project(env, "p")
    await insert(
        env,
        progression(project.id, id="both", prompt="a red boat on a calm lake", created_at=3),
        progression(project.id, id="apart", prompt="a lake", ai_notes=["no Boat"], ai_tags=["sail"], created_at=2),
        progression(project.id, id="one", prompt="a boat at sea", created_at=1),
    )
    expected = {
        "boat lake": ["both", "apart"],
        "  LAKE\tboat ": ["both", "apart"],
        "lak oat": ["both", "apart"],
        '"boat lake"': [],
        '"calm lake" red': ["both"],
        'red "calm lake"': ["both"],
        '"a lake"': ["apart"],
        "sail no lake": ["apart"],
        "boat sea lake": [],
        "a b l": ["both", "apart"],
        '"boat at': [],
        "boat " * 150: ["both", "apart", "one"],
        " ".join("abcdefghijklmnopqrstuvwxyz"): [],
        "“calm lake” red": ["both"],
        "„a lake“": ["apart"],
        "«\u00a0boat lake\u00a0»": [],
        "‘at sea’ boat": ["one"],
        '""': ["both", "apart", "one"],
        ' " " ': ["both", "apart", "one"],
        " \t ": ["both", "apart", "one"],
        "-lake": [],
        '"': [],
        "”": [],
    }
    for query, ids in expected.items():
        for limit in (1, 200):
            assert await found(env, project.id, limit=limit, query=query) == ids, query


async def test_the_index_only_narrows(env: Env) -> None:
    """A text with all the words of a query, or with words of the same letters, is not found unless it contains it."""
    project = await db.create_project(env, "p")
    await insert(
        env, progression(project.id, prompt="abcd bcde"), progression(project.id, prompt="axy", ai_tags=["axy"])
    )
    for asked in ({"query": "abcde"}, {"query": "\u0161xy"}, {"query": "\u0161x"}, {"tags": ["\u0161xy"]}):
        assert await found(env, project.id, **asked) == [], asked
    for asked in ({"query": "bcde"}, {"query": "axy"}, {"query": "e"}, {"tags": ["axy"]}):
        assert len(await found(env, project.id, **asked)) == 1, asked


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(stories=STORIES, queries=st.lists(QUERIES, max_size=3), cut=st.tuples(st.integers(0, 99), st.integers(1, 6)))
async def test_both_databases_find_what_the_definition_says(
    both: list[Env], stories: list[tuple[str, list[str], list[str]]], queries: list[str], cut: tuple[int, int]
) -> None:
    """A query finds exactly the progressions whose parts contain each of its words, on both, in the same order."""
    parts = [[prompt, *notes, *tags] for prompt, notes, tags in stories]
    whole = max((part for row in parts for part in row), key=len) or "x"
    start = cut[0] % len(whole)
    queries = [*queries, whole[start : start + cut[1]].swapcase()]
    project_id = new_id()
    rows = [
        progression(project_id, id=derived_id(project_id, i), prompt=p, ai_notes=n, ai_tags=t, created_at=1 + i // 2)
        for i, (p, n, t) in enumerate(stories)
    ]
    newest = sorted(zip(rows, parts, strict=True), key=lambda pair: (pair[0].created_at, pair[0].id), reverse=True)
    for env in both:
        await env.DB.run(
            "INSERT INTO projects (id, name, created_at, updated_at) VALUES (:id, 'p', 1, 1)", id=project_id
        )
        await insert(env, *rows)
        for query in queries:
            expected = [
                row.id
                for row, row_parts in newest
                if all(any(term in search.fold(p) for p in row_parts) for term in search.terms(query))
            ]
            for limit in (1, 200):
                assert await found(env, project_id, limit=limit, query=query) == expected, (env.DB.dialect, query)
            if query.isascii() and query.isprintable() and not {" ", '"'} & set(query):
                plain = {
                    row.id
                    for row, row_parts in newest
                    if any(query.lower() in p.lower() for p in row_parts if p.isascii())
                }
                assert plain <= set(expected)


async def test_what_is_older_than_the_window_is_found(env: Env) -> None:
    """Beyond the newest `WINDOW` rows the index answers, for long and short queries, tags and pages alike."""
    project = await db.create_project(env, "p")
    marked = {3: "Xylophone", 4: "xyl", 5: "ÿ", search.WINDOW + 20: "xylophone"}
    rows = [
        progression(
            project.id,
            id=f"{i:05}",
            prompt=marked.get(i, "boat"),
            ai_tags=["rare"] if i in marked else [],
            created_at=1 + i,
        )
        for i in range(search.WINDOW + 40)
    ]
    texts = [search.searchable_text(row) for row in rows]
    filed = [
        {
            **params(row),
            "progression_id": row.id,
            "text": text,
            "number": search.number_range(row.created_at)[0],
            "first": search.number_range(row.created_at)[0],
            "last": search.number_range(row.created_at)[1],
            "words": " ".join(search.index_words(row, text)),
        }
        for row, text in zip(rows, texts, strict=True)
    ]
    async with env.DB.transaction() as tx:
        await tx.many(db.INSERT_PROGRESSION, filed)
        await tx.many(search.FILE_TAG, [{"progression_id": row.id, "tag": tag} for row in rows for tag in row.ai_tags])
        if tx.dialect == "postgresql":
            await tx.many(search.FILE_POSTGRESQL, filed)
        else:
            await tx.many(search.FILE_SQLITE.replace("RETURNING number", ""), filed)
            await tx.many(search.FILE_WORDS_SQLITE, filed)
    newest = f"{search.WINDOW + 20:05}"
    for limit in (1, 200):
        assert await found(env, project.id, limit=limit, query="XYLO") == [newest, "00003"]
        assert await found(env, project.id, limit=limit, query="xyl") == [newest, "00004", "00003"]
        assert await found(env, project.id, limit=limit, query="xy") == [newest, "00004", "00003"]
        assert await found(env, project.id, limit=limit, query="ÿ") == ["00005"]
        assert await found(env, project.id, limit=limit, tags=["rare"]) == [newest, "00005", "00004", "00003"]
        assert await found(env, project.id, limit=limit, tags=["rare"], query="ne") == [newest, "00003"]


async def test_pages_follow_time_whatever_order_rows_came_in(env: Env) -> None:
    """Older rows that are inserted later, and many of one millisecond, are listed from the newest, once each, with any
    limit."""
    project = await db.create_project(env, "p")
    rows = [progression(project.id, id=derived_id(i), created_at=10 + i * 7 % 5) for i in range(60)]
    await insert(env, *rows)
    newest = [row.id for row in sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)]
    for limit in (1, 5, 12, 200):
        assert await found(env, project.id, limit=limit, query="boat") == newest
        assert await found(env, project.id, limit=limit, query="b") == newest


async def test_texts_that_hold_all_words_but_not_the_query_are_passed_over(env: Env) -> None:
    """However many newer rows match in the index only, the older one whose text matches is found."""
    project = await db.create_project(env, "p")
    misses = [progression(project.id, prompt="abcd bcde", created_at=100 + i) for i in range(60)]
    await insert(env, progression(project.id, id="hit", prompt="xx abcde", created_at=1), *misses)
    assert await found(env, project.id, limit=1, query="abcde") == ["hit"]


async def test_what_was_filed_before_the_order_is_found(tmp_path: Path) -> None:
    """SQLite's rows of an earlier version are put in order by the migration, with their words."""
    rows = [progression("p", id=f"{i}", prompt=f"boat {i}", created_at=1_700_000_000_000 - i // 2) for i in range(9)]
    scripts = packaged("migrations", "sqlite")
    before = [script for script in scripts if script.name < "0010"]
    insert_before = db.INSERT_PROGRESSION.replace(", coverage\n", "\n").replace(", :coverage\n", "\n")
    async with Sqlite.open(tmp_path / "picasso.db") as lite:
        await apply(lite, before)
        await lite.run("INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'p', 1, 1)")
        for number, row in enumerate(rows, 1):
            text = search.searchable_text(row)
            words = " ".join(search.index_words(row, text))
            await lite.run(insert_before, **params(row))
            await lite.run(FILE_BEFORE, number=number, id=row.id, at=row.created_at, text=text)
            await lite.run(search.FILE_WORDS_SQLITE, number=number, words=words)
    async with bare_env(tmp_path) as env:
        newest = [row.id for row in sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)]
        for limit in (1, 4, 200):
            assert await found(env, "p", limit=limit, query="BOAT") == newest
        assert await found(env, "p", query='"oat 7"') == ["7"]
        await insert(env, progression("p", id="a", prompt="boat a", created_at=1_700_000_000_000))
        assert await found(env, "p", query="boat") == ["a", *newest]


async def test_pages_are_stable_under_inserts(env: Env) -> None:
    """While newer progressions are inserted, with equal times too, every older one is listed once and in order."""
    project = await db.create_project(env, "p")
    await insert(env, *(progression(project.id, id=f"old-{i:02}", created_at=10 + i // 3) for i in range(11)))
    searches: list[dict[str, Any]] = [{}, {"query": "boat"}, {"provider": "sketch"}]
    for asked in searches:
        seen: list[str] = []
        cursor = None
        while cursor is not None or not seen:
            page = await db.list_progressions(env, project.id, cursor=cursor, limit=2, **asked)
            seen += [row.id for row in page.items]
            cursor = page.next_cursor
            await insert(env, progression(project.id, created_at=13), progression(project.id, created_at=20))
        old = [name for name in seen if name.startswith("old")]
        assert old == sorted(old, reverse=True)
        assert len(set(seen)) == len(seen)
        assert len(old) == 11


async def test_a_text_of_any_length_is_stored_and_found(env: Env) -> None:
    """Very long prompts and tags fit into both databases; text after `LENGTH` is not searched."""
    project = await db.create_project(env, "p")
    prompt = "".join(chr(0x4E00 + i * 7 % 20_000) for i in range(search.LENGTH)) + "tail"
    await insert(env, progression(project.id, id="long", prompt=prompt, ai_tags=[prompt[:5_000], "", "ok"]))
    assert await found(env, project.id, query=prompt[-30:-10]) == ["long"]
    assert await found(env, project.id, query="tail") == []
    assert await found(env, project.id, tags=["ok"]) == ["long"]


# Lineage


async def test_lineage_tells_where_from_and_what_of_it(env: Env) -> None:
    """Ancestors to the root, descendants by generation, each edge with its kind; siblings are left out."""
    project = await db.create_project(env, "p")
    tree = {"root": None, "left": "root", "right": "root", "l1": "left", "l2": "left", "l11": "l1"}
    edges = {
        "root": "generate",
        "left": "edit",
        "right": "variation",
        "l1": "retry",
        "l2": "upscale",
        "l11": "rollback",
    }
    rows = [
        progression(project.id, id=name, parent_progression_id=parent, edge=edges[name], created_at=1 + i)
        for i, (name, parent) in enumerate(tree.items())
    ]
    await insert(env, *rows)
    told = await db.lineage(env, "left")
    assert [row.id for row in told.ancestors] == ["root"]
    assert [row.id for row in told.descendants] == ["l1", "l2", "l11"]
    assert [(e.from_, e.to, e.edge) for e in told.edges] == [
        ("root", "left", "edit"),
        ("left", "l1", "retry"),
        ("left", "l2", "upscale"),
        ("l1", "l11", "rollback"),
    ]
    assert not told.truncated
    assert [row.id for row in (await db.lineage(env, "l11")).ancestors] == ["l1", "left", "root"]
    assert msgspec.to_builtins(told.edges[0]) == {"from": "root", "to": "left", "edge": "edit"}
    with pytest.raises(NotFound):
        await db.lineage(env, "x")


async def test_lineage_is_bounded(env: Env) -> None:
    """Of a very long chain the nearest `MAX_RELATIVES` each way are returned, with `truncated`."""
    project = await db.create_project(env, "p")
    count = 2 * db.MAX_RELATIVES + 20
    parents = [None, *(f"{i:05}" for i in range(count))]
    chain = [
        progression(project.id, id=f"{i:05}", parent_progression_id=parents[i], created_at=1 + i) for i in range(count)
    ]
    await env.DB.many(db.INSERT_PROGRESSION, [params(row) for row in chain])
    middle = db.MAX_RELATIVES + 10
    told = await db.lineage(env, f"{middle:05}")
    assert [row.id for row in told.ancestors] == [f"{i:05}" for i in range(middle - 1, 9, -1)]
    assert [row.id for row in told.descendants] == [f"{i:05}" for i in range(middle + 1, middle + 1 + db.MAX_RELATIVES)]
    assert len(told.edges) == 2 * db.MAX_RELATIVES
    assert told.truncated


async def test_a_rollback_is_a_new_step_with_the_same_bytes(env: Env) -> None:
    """The new progression has the original of the earlier one, no judgment and no cost."""
    project = await db.create_project(env, "p")
    row = progression(
        project.id, judgment="fail", ai_notes=["bad"], ai_tags=["boat"], cost_usd=5, seed=4, phash="1" * 16
    )
    await insert(env, row)
    back = await db.rollback(env, row.id, "original")
    assert back == await db.get_progression(env, back.id)
    assert (back.parent_progression_id, back.edge, back.id != row.id) == (row.id, "rollback", True)
    for same in (
        "original_image_r2_key",
        "sha256",
        "width",
        "height",
        "generated_image_url",
        "prompt",
        "ai_tags",
        "phash",
    ):
        assert vars_of(back)[same] == vars_of(row)[same]
    assert (back.judgment, back.judge_status, back.ai_notes, back.cost_usd, back.item_id) == (
        None,
        "skipped",
        [],
        0,
        None,
    )
    assert await found(env, project.id, tags=["boat"]) == [back.id, row.id]
    with pytest.raises(NotFound):
        await db.rollback(env, "x", "original")


async def test_a_rollback_to_the_start_takes_the_start_image(env: Env) -> None:
    """Its bytes are those the step was made from; a step made from nothing is refused as 422."""
    project = await db.create_project(env, "p")
    made = progression(
        project.id, start_image_url="upload:x", start_image_r2_key="project/p/uploads/x", ai_tags=["boat"]
    )
    plain = progression(project.id)
    await insert(env, made, plain)
    delivery = db.Delivery(url="https://images.example/s/public", sha256="b" * 64, width=10, height=20)
    back = await db.rollback(env, made.id, "start", delivery)
    assert back == await db.get_progression(env, back.id)
    assert (back.original_image_r2_key, back.generated_image_url) == ("project/p/uploads/x", delivery.url)
    assert (back.sha256, back.width, back.height) == ("b" * 64, 10, 20)
    assert (back.parent_progression_id, back.start_image_r2_key, back.ai_tags) == (made.id, None, [])
    with pytest.raises(Invalid) as raised:
        await db.rollback(env, plain.id, "start", delivery)
    assert (raised.value.status, raised.value.code) == (422, "no_start_image")


def vars_of(row: Progression) -> dict[str, Any]:
    return msgspec.structs.asdict(row)


# Uploads, knowledge, configurations


async def test_an_upload_is_remembered_once(env: Env) -> None:
    """The same bytes again are the same upload; an unknown project or upload is NotFound."""
    project = await db.create_project(env, "p")
    image = StoredImage("project/p/uploads/a", "a" * 64, "image/png", 10, 20, 300)
    made = await db.insert_upload(env, project.id, image)
    assert await db.insert_upload(env, project.id, image) == made == await db.get_upload(env, project.id, "a" * 64)
    with pytest.raises(NotFound):
        await db.get_upload(env, project.id, "b" * 64)
    with pytest.raises(NotFound):
        await db.insert_upload(env, "x", image)


async def test_tips_are_those_of_the_provider_and_the_kind(env: Env) -> None:
    """A tip without kinds is for all; tips of other providers, even with similar names, are not returned."""
    advices = {
        "zeta.b": db.TipValue("always"),
        "zeta.a": db.TipValue("edits", ["edit", "inpaint"]),
        "zeta.c": db.TipValue("upscales", ["upscale"]),
        "zeta2.a": db.TipValue("other"),
        "z_ta.a": db.TipValue("other"),
    }
    for key, advice in advices.items():
        await db.put_knowledge(env, key, advice)
    assert [(tip.key, tip.tip) for tip in await db.get_tips(env, "zeta", "edit")] == [
        ("zeta.a", "edits"),
        ("zeta.b", "always"),
    ]
    assert [tip.key for tip in await db.get_tips(env, "z_ta", "edit")] == ["z_ta.a"]
    assert await db.get_tips(env, "zet", "edit") == []
    await db.put_knowledge(env, "zeta.b", db.TipValue("changed"))
    assert [tip.tip for tip in await db.get_tips(env, "zeta", "generate")] == ["changed"]
    with pytest.raises(Invalid):
        await db.put_knowledge(env, "Zeta", db.TipValue("x"))


@pytest.mark.parametrize(
    ("stored", "tip"),
    [
        ('{"tip": "Soft light.", "kinds": ["edit"]}', db.TipValue("Soft light.", ["edit"])),
        ("Soft light from\n the left, 35mm.", db.TipValue("Soft light from the left, 35mm.")),
        ('"Soft light."', db.TipValue("Soft light.")),
        ('["Soft light.", "No border."]', db.TipValue("Soft light. No border.")),
        ('[{"tip": "Soft light."}, "No border."]', db.TipValue("Soft light. No border.")),
        ("[close-up] no border", db.TipValue("[close-up] no border")),
        ('"Soft" is not blurred', db.TipValue('"Soft" is not blurred')),
        *(
            (unreadable, None)
            for unreadable in (
                "",
                "  ",
                '""',
                "[]",
                "{}",
                "5",
                "null",
                "true",
                '{"tip": 5}',
                '{"tip": " "}',
                '["a", 5]',
            )
        ),
        ('{"tip": "Soft light.', None),
        ('["Soft light."', None),
        ('{"tip": "Soft light.", "kinds": "edit"}', None),
        ("[" * 100_000, None),
    ],
)
def test_a_tip_is_read_in_the_forms_that_people_write(stored: str, tip: db.TipValue | None) -> None:
    """Our object, plain text, a JSON string or an array; what is none of these is no tip."""
    assert db.read_tip(stored) == tip


async def test_a_tip_that_cannot_be_read_costs_one_log_line(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    """The provider's other tips are used and listed as if it were not there."""
    put = "INSERT INTO knowledge_base (key, value) VALUES (:key, :value)"
    for key, value in (("zeta.a", "plain words"), ("zeta.b", '{"tip": 5}'), ("zeta.c", '["first", "second"]')):
        await env.DB.run(put, key=key, value=value)
    tips = await db.get_tips(env, "zeta", "edit")
    assert [(tip.key, tip.tip) for tip in tips] == [("zeta.a", "plain words"), ("zeta.c", "first second")]
    assert [record.getMessage() for record in caplog.records if record.name == "picasso.db"] == [
        "the tip zeta.b in the knowledge base cannot be read and is left out"
    ]
    listed = [row.key for row in (await db.list_knowledge(env, None, 200)).items if row.key.startswith("zeta.")]
    assert listed == ["zeta.a", "zeta.c"]


async def test_knowledge_is_listed_page_by_page(env: Env) -> None:
    """Every key once."""
    for i in range(5):
        await db.put_knowledge(env, f"zeta.{i}", db.TipValue(str(i)))
    keys: list[str] = []
    cursor = None
    while cursor is not None or not keys:
        page = await db.list_knowledge(env, cursor, 2)
        keys += [row.key for row in page.items]
        cursor = page.next_cursor
    assert [key for key in keys if key.startswith("zeta.")] == [f"zeta.{i}" for i in range(5)]
    assert len(set(keys)) == len(keys)


async def test_a_configuration_is_saved_and_read(env: Env) -> None:
    """The last value of a key counts; an unknown artifact is NotFound."""
    project = await db.create_project(env, "p")
    await env.DB.run(
        "INSERT INTO artifacts (id, owner_id, title, public_slug, created_at, updated_at, generator_id)"
        " VALUES ('a', 'default', 't', :slug, 1, 1, 'lookbook')",
        slug="s" * 22,
    )
    await env.DB.run("INSERT INTO project_artifacts (project_id, artifact_id) VALUES (:id, 'a')", id=project.id)
    for value in ("Spring", "Autumn"):
        await db.save_config(env, "a", "TITLE", value)
    assert await db.get_config(env, "a") == {"TITLE": "Autumn"}
    assert await db.get_projects_for_artifact(env, "a") == [project]
    row = progression(project.id)
    await insert(env, row)
    assert await db.get_images_for_project(env, project.id) == [row]
    with pytest.raises(NotFound):
        await db.save_config(env, "x", "TITLE", "y")


# Words


@given(TEXTS, TEXTS)
@settings(max_examples=200, deadline=None)
def test_words_are_letters_that_both_indexes_take(text: str, tag: str) -> None:
    """No word has a character that FTS5's or tsvector's parser would split at."""
    row = progression("p", prompt=text, ai_tags=[tag])
    words = search.index_words(row, search.searchable_text(row))
    assert all(word.isalpha() for word in words)
