"""The tips for each provider with their effect: how often they were applied, and the verdicts on the images made with
them."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.shared.provider_stats import Tally, tally
from tools.db import Knowledge
from tools.env import Env
from tools.reports import project_rows
from tools.reports.project_rows import Image, Plan
from tools.rows import ArtifactRow, Kind, Project, Seen, Tip

SCHEMA_NAME = "knowledge-pack.schema.json"
Rate = Annotated[float, Meta(ge=0, le=1)]
Number = Annotated[int, Meta(ge=0)]


class PackOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`provider` selects the tips of one provider; `minImages` leaves out tips with fewer images."""

    provider: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    min_images: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Measured(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """The verdicts on some images; of those `measured` the main subject could not be judged. `passRate` is the share of
    those judged that passed, null when none was judged or some were only measured."""

    images: Number
    passed: Number
    failed: Number
    not_judged: Number
    measured: Number
    pass_rate: Rate | None


class MeasuredKind(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """One kind of operation: `applied` counts the jobs whose prompt for the provider got the tip, `with` the images of
    them that the provider painted, `without` its other images of the kind; `difference` is between their pass rates."""

    kind: Kind
    applied: Number
    with_: Measured = msgspec.field(name="with")
    without: Measured
    difference: Annotated[float, Meta(ge=-1, le=1)] | None


class PackedTip(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A tip in one wording. `current` is false for a wording that was applied and is no longer the one in use; `kinds`
    are those it is meant for, null for all."""

    key: str
    provider: str
    tip: str
    current: bool
    kinds: list[Kind] | None
    applied: Number
    measured: Measured
    by_kind: list[MeasuredKind]


class KnowledgePackFile(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Tips by provider and key. Counted are the projects' own images, under who painted them."""

    format: Literal["picasso-knowledge/1"] = "picasso-knowledge/1"
    projects: list[str]
    tips: list[PackedTip]


class KnowledgePack:
    id = "knowledge-pack"
    name = "Knowledge pack"
    output: Literal["json"] = "json"
    options = PackOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: PackOptions
    ) -> Output:
        images = [image for project in projects for image in await project_rows.images(env, project.id)]
        plans = [plan for project in projects for plan in await project_rows.plans(env, project.id)]
        tips = [
            tip
            for tip in await asyncio.to_thread(pack, await project_rows.knowledge(env), plans, images)
            if options.provider in (None, tip.provider) and tip.measured.images >= options.min_images
        ]
        written = KnowledgePackFile(projects=[project.name for project in projects], tips=tips)
        data = msgspec.json.encode(written, order="deterministic")
        return Output(
            index=File("index.json", msgspec.json.format(data, indent=1), "application/json"),
            beside=(File(SCHEMA_NAME, schema(), "application/schema+json"),),
            progression_ids=tuple(image.id for image in images),
        )


generator = KnowledgePack()


def schema() -> bytes:
    """JSON Schema (2020-12) of the file."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(KnowledgePackFile)}
    return msgspec.json.encode(described, order="deterministic")


def pack(known: Sequence[Knowledge], plans: Sequence[Plan], images: Sequence[Image]) -> list[PackedTip]:
    """Every tip there is and every wording that was applied, by provider and key, the current wording first."""
    wordings = {Tip(row.key, row.value.tip): row for row in known}
    applied = dict.fromkeys(tip for plan in plans for tips in plan.metadata.applied_tips.values() for tip in tips)
    ordered = sorted({**applied, **wordings}, key=lambda tip: (tip.key, tip not in wordings, tip.tip))
    return [_packed(tip, wordings.get(tip), plans, images) for tip in ordered]


def _packed(tip: Tip, current: Knowledge | None, plans: Sequence[Plan], images: Sequence[Image]) -> PackedTip:
    provider = tip.key.partition(".")[0]
    given = {plan.id: plan.kind for plan in plans if tip in plan.metadata.applied_tips.get(provider, [])}
    painted = [image for image in images if image.provider == provider and image.kind is not None]
    by_kind: defaultdict[Kind, list[Image]] = defaultdict(list)
    for image in painted:
        if image.kind is not None:
            by_kind[image.kind].append(image)
    kinds = sorted(set(given.values()))
    return PackedTip(
        key=tip.key,
        provider=provider,
        tip=tip.tip,
        current=current is not None,
        kinds=current.value.kinds if current else None,
        applied=len(given),
        measured=_measured(image.seen for image in painted if image.job_id in given),
        by_kind=[_of_kind(kind, given, by_kind[kind]) for kind in kinds],
    )


def _of_kind(kind: Kind, given: dict[str, Kind], images: Sequence[Image]) -> MeasuredKind:
    with_ = _measured(image.seen for image in images if image.job_id in given)
    without = _measured(image.seen for image in images if image.job_id not in given)
    rates = (with_.pass_rate, without.pass_rate)
    return MeasuredKind(
        kind=kind,
        applied=sum(one == kind for one in given.values()),
        with_=with_,
        without=without,
        difference=None if rates[0] is None or rates[1] is None else round(rates[0] - rates[1], 4),
    )


def _measured(verdicts: Iterable[Seen | None]) -> Measured:
    found: Tally = tally(verdicts)
    return Measured(
        images=found.images,
        passed=found.passed,
        failed=found.failed,
        not_judged=found.unjudged,
        measured=found.measured,
        pass_rate=found.pass_rate,
    )
