"""Every object of the projects in BUCKET with the rows that name it, including those that are missing or unnamed.

The hash is taken from a row; where none has it, or on demand, it is computed from the bytes. Artifacts of this kind are
left out, because each would change the next one.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import File, Output
from generators.shared import tables
from generators.shared.tables import Cell
from tools.env import Env, StoredObject
from tools.r2 import ARTIFACT_KEY, JOB_KEY, UPLOAD_KEY
from tools.reports import bucket_inventory
from tools.reports.bucket_inventory import Digest, NamedObject
from tools.rows import ArtifactRow, Project

JSON_NAME = "archive.json"
"""Not `manifest.json`, which stands beside every version of an artifact."""
INPUT = re.compile(r".*/orig/(start|mask|reference-[0-9]+)")
AT_ONCE = 4
HEADER = ("key", "status", "kind", "size", "sha256", "sha256_from", "content_type", "rows", "project")

Status = Literal["ok", "missing", "extra", "damaged"]
ObjectKind = Literal["original", "input", "upload", "artifact", "other"]


class ArchiveOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`verify` reads every object and compares its hash with the rows; with many objects this takes long."""

    verify: bool = False


class Object(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An object, or one that should be there.

    `missing`: a row names it and it is not there · `extra`: it is there and no row names it · `damaged`: its size or
    hash is another than a row says. `sha256From` says whether the hash was told by a `row`, read from the `bytes`, or
    `both` and they agree. `rows` are `table/id`.
    """

    key: str
    status: Status
    kind: ObjectKind
    size: int | None
    sha256: str | None
    sha256_from: Literal["row", "bytes", "both"] | None
    content_type: str | None
    rows: list[str]
    project: str


class Totals(msgspec.Struct, frozen=True):
    """`bytes` are those of the objects that are there."""

    objects: int
    bytes: int
    ok: int
    missing: int
    extra: int
    damaged: int


class ArchivedProject(msgspec.Struct, frozen=True):
    id: str
    name: str


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """`archive.json`: the same as the table, with the totals."""

    format: Literal["picasso-archive/1"] = "picasso-archive/1"
    verified: bool
    projects: list[ArchivedProject]
    totals: Totals
    objects: list[Object]


class R2ArchiveManifest:
    id = "r2-archive-manifest"
    name = "R2 archive manifest"
    output: Literal["csv"] = "csv"
    options = ArchiveOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: ArchiveOptions
    ) -> Output:
        objects, named = list[Object](), dict[str, None]()
        for project in projects:
            claims, stored = await _of_project(env, project)
            hashes = await read(env, wanted(claims, stored, verify=options.verify))
            known = {one.key for one in objects}
            found = await asyncio.to_thread(listed, project.id, claims, stored, hashes)
            objects += [one for one in found if one.key not in known]
            rows = [claim.row.partition("/")[::2] for claim in claims]
            named |= dict.fromkeys(id for table, id in rows if table == bucket_inventory.VERSIONS)
        written = Archive(
            verified=options.verify,
            projects=[ArchivedProject(project.id, project.name) for project in projects],
            totals=totals(objects),
            objects=objects,
        )
        data = msgspec.json.format(msgspec.json.encode(written, order="deterministic"), indent=1)
        cells: list[list[Cell]] = [
            [
                one.key,
                one.status,
                one.kind,
                one.size,
                one.sha256,
                one.sha256_from,
                one.content_type,
                " ".join(one.rows),
                one.project,
            ]
            for one in objects
        ]
        return Output(
            index=File("index.csv", tables.write(HEADER, cells), tables.CONTENT_TYPE),
            beside=(File(JSON_NAME, data, "application/json"),),
            progression_ids=tuple(named),
        )


generator = R2ArchiveManifest()


async def _of_project(env: Env, project: Project) -> tuple[list[NamedObject], list[StoredObject]]:
    """The claims of the rows, then the listing: bytes are stored before their row, so nothing new looks missing."""
    claims = await bucket_inventory.named_by_rows(env, project.id)
    prefixes = [f"project/{project.id}/"]
    for published in await bucket_inventory.published(env, project.id):
        if published.generator_id != generator.id:
            claims += await bucket_inventory.named_by_artifact(env, published)
            prefixes.append(f"artifacts/{published.id}/")
    stored = [found for prefix in prefixes for found in await bucket_inventory.listed(env, prefix)]
    return claims, stored


def wanted(claims: Sequence[NamedObject], stored: Sequence[StoredObject], *, verify: bool) -> list[str]:
    """The keys of the objects whose bytes must be read for their hash."""
    told = {claim.key for claim in claims if claim.sha256 is not None}
    return [found.key for found in stored if verify or found.key not in told]


async def read(env: Env, keys: Iterable[str]) -> dict[str, Digest]:
    """The digests of the objects, a few at a time; one that is gone by now has none.

    Fails: Unavailable when BUCKET does not answer.
    """
    found, left = dict[str, Digest](), iter(keys)

    async def some() -> None:
        for key in left:
            if digest := await bucket_inventory.digest(env, key):
                found[key] = digest

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return found


def listed(
    project: str, claims: Sequence[NamedObject], stored: Sequence[StoredObject], hashes: Mapping[str, Digest]
) -> list[Object]:
    """Everything that is there or should be, in the order of the keys."""
    by_key: defaultdict[str, list[NamedObject]] = defaultdict(list)
    for claim in claims:
        by_key[claim.key].append(claim)
    there = {found.key: found for found in stored}
    return [
        _object(project, key, by_key.get(key, []), there.get(key), hashes.get(key)) for key in sorted({*by_key, *there})
    ]


def _object(
    project: str, key: str, claims: Sequence[NamedObject], stored: StoredObject | None, read: Digest | None
) -> Object:
    hashes = {claim.sha256 for claim in claims if claim.sha256}
    sizes = {claim.size for claim in claims if claim.size is not None}
    types = [claim.content_type for claim in claims if claim.content_type]
    status = _status(claims, stored, hashes, sizes, read)
    told = min(hashes) if hashes else None
    source: Literal["row", "bytes", "both"] | None = "row" if told else None
    if read:
        source = "both" if told and status != "damaged" else "bytes"
    kind: ObjectKind = "other"
    if JOB_KEY.fullmatch(key):
        kind = "input" if INPUT.fullmatch(key) else "original"
    elif UPLOAD_KEY.fullmatch(key):
        kind = "upload"
    elif ARTIFACT_KEY.fullmatch(key):
        kind = "artifact"
    return Object(
        key=key,
        status=status,
        kind=kind,
        size=stored.size if stored else min(sizes, default=None),
        sha256=read.sha256 if read else told,
        sha256_from=source,
        content_type=types[0] if types else None,
        rows=list(dict.fromkeys(claim.row for claim in claims)),
        project=project,
    )


def _status(
    claims: Sequence[NamedObject], stored: StoredObject | None, hashes: set[str], sizes: set[int], read: Digest | None
) -> Status:
    if stored is None:
        return "missing"
    if sizes - {stored.size} or (read and hashes - {read.sha256}) or len(hashes) > 1:
        return "damaged"
    return "ok" if claims else "extra"


def totals(objects: Sequence[Object]) -> Totals:
    found = [one.status for one in objects]
    return Totals(
        objects=len(objects),
        bytes=sum(one.size or 0 for one in objects if one.status != "missing"),
        ok=found.count("ok"),
        missing=found.count("missing"),
        extra=found.count("extra"),
        damaged=found.count("damaged"),
    )
