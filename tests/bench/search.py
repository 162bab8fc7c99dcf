"""How fast search is: 100,000 progressions of one project, on SQLite and on PostgreSQL.

`python -m tests.bench.search [rows]` prints a table of p50 and p95 in milliseconds.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec

from tests.support.environment import bare_env
from tests.support.servers.postgres import Server
from tools import db, search
from tools.env import Env, Value
from tools.rows import Progression, derived_id, new_id, params

RUNS = 40
WORDS = ["".join(random.Random(i).choices("etaoinshrdlucm", k=random.Random(i).randint(3, 9))) for i in range(4_000)]
SEEN = [1 / (rank + 2) for rank in range(len(WORDS))]
ASKED: dict[str, dict[str, Any]] = {
    "common word": {"query": WORDS[2]},
    "middling word": {"query": WORDS[900]},
    "rare word": {"query": "zyzzyva"},
    "absent": {"query": "qqqwww"},
    "two words, mixed case": {"query": f"{WORDS[0]} {WORDS[1]}".upper()},
    "short, common": {"query": "et"},
    "short, rare": {"query": "ÿ"},
    "short, absent": {"query": "zq"},
    "only among the oldest": {"query": "palimpsest"},
    "short, of the oldest": {"query": "jx"},
    "common tag": {"tags": [WORDS[0]]},
    "rare tag": {"tags": ["heirloom"]},
    "two tags": {"tags": [WORDS[40], WORDS[41]]},
    "rare provider": {"provider": "flux"},
    "provider and judgment": {"provider": "gemini", "judgment": "fail"},
    "word, tag, judgment": {"query": WORDS[5], "tags": [WORDS[40]], "judgment": "pass"},
    "no filter": {},
}


def progression(i: int, project_id: str, count: int) -> Progression:
    chance = random.Random(i)
    words = chance.choices(WORDS, SEEN, k=55)
    words += ["zyzzyva", "ÿ", "heirloom"] if i % 5_000 == 77 else []
    words += ["palimpsest", "jx"] if i < count // 3 else []
    judgments: list[Literal["pass", "fail"] | None] = ["pass", "fail", None]
    judgment = chance.choice(judgments)
    return Progression(
        id=derived_id("bench", i), project_id=project_id, parent_progression_id=None, start_image_url=None,
        prompt=" ".join(words[:25]), generated_image_url="https://images.example/x", original_image_r2_key="k",
        ai_provider="flux" if i % 9_000 == 5 else chance.choice(["openai", "gemini", "sketch"]),
        ai_notes=[" ".join(words[25:40]), " ".join(words[40:])], ai_tags=list(dict.fromkeys(words[50:])),
        judgment=judgment, created_at=1_700_000_000_000 + i // 3, job_id=None, item_id=None, edge="generate",
        variant_index=0, ai_model=None, refined_prompt=None, start_image_r2_key=None,
        judge_status="ok" if judgment else "skipped", criteria=[], retry_suggestion=None, phash=None,
        width=1024, height=1024, sha256="0" * 64, seed=None, adjustments=[], cost_usd=0,
    )  # fmt: skip


async def fill(env: Env, project_id: str, count: int) -> None:
    if env.DB.dialect == "postgresql":
        await env.DB.run("DROP INDEX progression_search_words")
    for start in range(0, count, 5_000):
        rows = [progression(i, project_id, count) for i in range(start, min(start + 5_000, count))]
        texts = [search.searchable_text(row) for row in rows]
        filed: list[dict[str, Value]] = [
            {"progression_id": row.id, "project_id": project_id, "created_at": row.created_at, "text": text,
             "words": " ".join(sorted(search.index_words(row, text))),
             "number": search.number_range(row.created_at)[0] + i % 3,
             "first": search.number_range(row.created_at)[0], "last": search.number_range(row.created_at)[1]}
            for i, (row, text) in enumerate(zip(rows, texts, strict=True), start)
        ]  # fmt: skip
        async with env.DB.transaction() as tx:
            await tx.many(db.INSERT_PROGRESSION, [params(row) for row in rows])
            await tx.many(
                search.FILE_TAG,
                [{"progression_id": r.id, "tag": t} for r in rows for t in search.searchable_tags(r.ai_tags)],
            )
            if tx.dialect == "postgresql":
                await tx.many(search.FILE_POSTGRESQL, filed)
            else:
                await tx.many(search.FILE_SQLITE.replace("RETURNING number", ""), filed)
                await tx.many(search.FILE_WORDS_SQLITE, filed)


async def build_index(url: str) -> None:
    """At once after the rows, on a connection of its own: it takes longer than the product gives a statement."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE INDEX progression_search_words ON progression_search USING gin (words) WITH (fastupdate = off)"
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def measure(env: Env, project_id: str) -> dict[str, tuple[float, float, int]]:
    figures = {}
    for name, asked in ASKED.items():
        took = []
        for _ in range(RUNS):
            started = time.perf_counter()
            page = await db.list_progressions(env, project_id, **asked)
            took.append((time.perf_counter() - started) * 1000)
        took.sort()
        figures[name] = took[len(took) // 2], took[int(len(took) * 0.95)], len(page.items)
    return figures


async def bench(home: Path, database_url: str, count: int) -> dict[str, tuple[float, float, int]]:
    async with bare_env(home, database_url) as env:
        project = await db.create_project(env, "bench")
        started = time.perf_counter()
        await fill(env, project.id, count)
        print(f"{env.DB.dialect}: {count} rows in {time.perf_counter() - started:.0f} s")
        if env.DB.dialect == "postgresql":
            await build_index(database_url)
        one = msgspec.structs.replace(progression(count, project.id, count), id=new_id())
        async with env.DB.transaction() as tx:
            started = time.perf_counter()
            await db.insert_progression(tx, one)
            print(f"{env.DB.dialect}: one more takes {(time.perf_counter() - started) * 1000:.1f} ms")
        return await measure(env, project.id)


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="picasso-bench-") as folder:
        server = Server(Path(folder))
        server.create()
        server.start()
        try:
            await server.administer("CREATE DATABASE bench")
            lite = await bench(Path(folder) / "lite", "", count)
            post = await bench(Path(folder) / "post", server.url("bench"), count)
        finally:
            server.stop()
    print(f"\n{'query':24}{'rows':>6}{'SQLite p50':>12}{'p95':>8}{'PostgreSQL p50':>16}{'p95':>8}   ms")
    for name in ASKED:
        assert lite[name][2] == post[name][2], name
        print(
            f"{name:24}{lite[name][2]:6}{lite[name][0]:12.1f}{lite[name][1]:8.1f}{post[name][0]:16.1f}{post[name][1]:8.1f}"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
