"""The projects' jobs as data, with a script that makes them again: same prompts, models, seeds, sizes and kinds.

No address, session, key or id of this installation is in either: an image that a job started from is named by the item
that made it, or by its SHA-256.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import File, Output
from tools.env import Env
from tools.reports import project_rows
from tools.reports.project_rows import ItemResult, Version
from tools.rows import ArtifactRow, InputImages, ItemStatus, Job, Kind, Project, ProviderModel, Seen, StoredImage

SCRIPT_NAME = "replay.py"


class ReplayOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`only` leaves out the jobs without an image."""

    only: Literal["all", "complete"] = "all"


class Made(msgspec.Struct, frozen=True, rename="camel", tag_field="from", tag="item"):
    """The image that an item of an earlier job made."""

    job: int
    provider: str
    variant_index: int


class Bytes(msgspec.Struct, frozen=True, tag_field="from", tag="file"):
    """An image that must be present as a file to replay the job."""

    sha256: str


Source = Made | Bytes


class Came(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The outcome of an item. `painter` is set when a fallback provider made the image."""

    provider: str
    model: str
    variant_index: int
    seed: int | None
    status: ItemStatus
    painter: ProviderModel | None
    judgment: Seen | None
    sha256: str | None


class RecordedJob(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A job as it can be submitted again; `missing` says why it cannot. A `seed` is `drawn` if none was requested."""

    number: int
    kind: Kind
    prompt: str
    providers: list[ProviderModel]
    variants: int
    size: str | None
    quality: str | None
    seed: int | None
    drawn: bool
    negative_prompt: str | None
    strict: bool
    fallback: list[ProviderModel]
    start: Source | None
    mask: Source | None
    references: list[Source]
    parent: Made | None
    missing: str | None
    items: list[Came]


class RecordedProject(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str | None
    jobs: list[RecordedJob]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """The file: projects with their jobs from the oldest, numbered through all of them."""

    format: Literal["picasso-replay/1"] = "picasso-replay/1"
    projects: list[RecordedProject]


class SeedReplayScript:
    id = "seed-replay-script"
    name = "Seed replay script"
    output: Literal["json"] = "json"
    options = ReplayOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: ReplayOptions
    ) -> Output:
        recorded, shown, number = list[RecordedProject](), list[str](), 1
        for project in projects:
            jobs = [
                job
                for job in await project_rows.jobs(env, project.id)
                if options.only == "all" or job.status == "complete"
            ]
            places, versions = (
                await project_rows.item_results(env, project.id),
                await project_rows.versions(env, project.id),
            )
            recorded.append(
                RecordedProject(
                    name=project.name,
                    description=project.description,
                    jobs=await asyncio.to_thread(record, jobs, places, versions, number),
                )
            )
            shown += [version.id for version in versions]
            number += len(jobs)
        written = msgspec.json.encode(Recording(projects=recorded), order="deterministic")
        return Output(
            index=File("index.json", msgspec.json.format(written, indent=1), "application/json"),
            beside=(File(SCRIPT_NAME, env.ASSETS.read(SCRIPT_NAME), "text/x-python; charset=utf-8"),),
            progression_ids=tuple(shown),
        )


generator = SeedReplayScript()


def record(
    jobs: Sequence[Job], places: Sequence[ItemResult], versions: Sequence[Version], first: int = 1
) -> list[RecordedJob]:
    """The jobs, oldest first, numbered from `first`."""
    numbers = {job.id: number for number, job in enumerate(jobs, first)}
    of_job: defaultdict[str, list[ItemResult]] = defaultdict(list)
    for place in places:
        of_job[place.job_id].append(place)
    made = {
        place.progression_id: Made(numbers[place.job_id], place.provider, place.variant_index)
        for place in places
        if place.progression_id is not None and place.job_id in numbers
    }
    known = {version.id: version for version in versions}
    return [_recorded(job, numbers[job.id], of_job[job.id], Sources(made, known)) for job in jobs]


class Sources(msgspec.Struct, frozen=True):
    """Sources of the images that jobs start from: items by the version they made, and all versions by id."""

    made: Mapping[str, Made]
    known: Mapping[str, Version]

    def item(self, progression_id: str | None) -> Made | None:
        """The item that made the version, or for a rollback the version it goes back to."""
        while progression_id is not None and progression_id not in self.made:
            version = self.known.get(progression_id)
            parent = self.known.get(version.parent_progression_id or "") if version else None
            same = version and parent and version.original_image_r2_key == parent.original_image_r2_key
            progression_id = parent.id if parent and same else None
        return self.made[progression_id] if progression_id else None

    def image(self, url: str | None, stored: StoredImage | None) -> Source | None:
        """The image that a URL of a request stood for; None when only its address is known."""
        if url is None:
            return None
        if url.startswith("progression:"):
            id = url.removeprefix("progression:")
            if made := self.item(id):
                return made
            if id in self.known:
                return Bytes(self.known[id].sha256)
        if url.startswith("upload:"):
            return Bytes(url.removeprefix("upload:"))
        return Bytes(stored.sha256) if stored else None


def _recorded(job: Job, number: int, places: Sequence[ItemResult], sources: Sources) -> RecordedJob:
    request, inputs = job.request, job.inputs or InputImages()
    stored = [*inputs.references, *[None] * len(request.reference_image_urls)]
    references = [sources.image(url, image) for url, image in zip(request.reference_image_urls, stored, strict=False)]
    start, mask = (
        sources.image(request.start_image_url, inputs.start),
        sources.image(request.mask_image_url, inputs.mask),
    )
    wanted = [request.start_image_url, request.mask_image_url, *request.reference_image_urls]
    drawn = (place.seed - place.variant_index for place in places if place.seed is not None)
    lost = sum(url is not None for url in wanted) > sum(image is not None for image in (start, mask, *references))
    return RecordedJob(
        number=number,
        kind=job.kind,
        prompt=request.prompt,
        # An entry without a model was given one when the job was accepted; its first item has it.
        providers=[
            ProviderModel(entry["provider"], entry.get("model") or places[number * request.variants].model)
            for number, entry in enumerate(request.providers)
        ],
        variants=request.variants,
        size=request.size,
        quality=request.quality,
        seed=request.seed if request.seed is not None else next(drawn, None),
        drawn=request.seed is None,
        negative_prompt=request.negative_prompt,
        strict=request.strict,
        fallback=job.metadata.fallback,
        start=start,
        mask=mask,
        references=[image for image in references if image],
        parent=sources.item(job.parent_progression_id),
        missing="an image that it started from was never read" if lost else None,
        items=[
            Came(
                provider=place.provider,
                model=place.model,
                variant_index=place.variant_index,
                seed=place.seed,
                status=place.status,
                painter=painter if painter != ProviderModel(place.provider, place.model) else None,
                judgment=place.seen,
                sha256=place.sha256,
            )
            for place in places
            for painter in [ProviderModel(place.painter, place.painter_model or "") if place.painter else None]
        ],
    )
