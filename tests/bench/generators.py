"""What each kind of artifact costs at 1,000 images: seconds, and the peak memory of the process and of its image child.

`python -m tests.bench.generators [KIND …]`. One project of 1,000 image versions with jobs, ledger, verdicts and
originals is made once; each kind then runs in a process of its own. Seconds depend on what else the machine does, so
beside them stand those of CPU, the children's among them, and how many times that is what reading all rows takes.
"""

import asyncio
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from PIL import Image, ImageDraw

from generators import registry
from tests.support.files.images import encoded
from tests.support.samples import finished_project
from tests.support.samples.page_site import pages_env
from tools import db
from tools.db import insert_progression
from tools.env import Env
from tools.publishing import artifacts
from tools.rows import Job, Progression, derived_id

IMAGES = 1_000
SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
PAINTED = 12
"""Different pictures; the images share their bytes, but each has an original of its own."""


class Figures(msgspec.Struct, frozen=True):
    """`cpu` is that of the process and its children, `least` that of reading all rows once, both in seconds; peaks are
    megabytes, `kilobytes` those of all files that were made."""

    id: str
    seconds: float
    cpu: float
    least: float
    peak: float
    child: float
    kilobytes: float
    shown: int


def paint(number: int) -> bytes:
    """A picture that a codec has to work for: a gradient, shapes and a little noise."""
    size = SIZES[number % len(SIZES)]
    noise = Image.effect_noise((size[0] // 4, size[1] // 4), 40).resize(size).convert("RGB")
    image = Image.blend(Image.linear_gradient("L").resize(size).convert("RGB"), noise, 0.3)
    pen = ImageDraw.Draw(image)
    for n in range(8):
        place = (size[0] * n // 8, size[1] * ((n * 5 + number) % 8) // 8)
        colour = finished_project.COLOURS[(n + number) % len(finished_project.COLOURS)]
        pen.ellipse((*place, place[0] + size[0] // 5, place[1] + size[0] // 5), fill=colour)
    return encoded(image, "JPEG")


async def fill(env: Env) -> None:
    """The seeded project, and versions like its own until there are 1,000, each with a job, an item and a call."""
    rows = await finished_project.seed(env)
    painted = [paint(number) for number in range(PAINTED)]
    job = await env.DB.one("SELECT * FROM jobs ORDER BY id LIMIT 1", Job)
    assert job is not None
    for start in range(len(rows), IMAGES, 100):
        async with env.DB.transaction() as tx:
            for number in range(start, min(start + 100, IMAGES)):
                like, data = rows[number % 9], painted[number % PAINTED]
                named = msgspec.structs.replace(job, id=f"job-{number}", created_at=like.created_at + number)
                image = _like(like, named, number, data)
                await finished_project.insert(tx, "jobs", named)
                await finished_project.insert(tx, "job_items", finished_project.item(named, 0, image))
                await finished_project.insert(tx, "provider_attempts", finished_project.attempt(named, image))
                await insert_progression(tx, image)
                await env.BUCKET.put(image.original_image_r2_key, data, content_type="image/jpeg")


def _like(row: Progression, job: Job, number: int, data: bytes) -> Progression:
    width, height = SIZES[number % PAINTED % len(SIZES)]
    return msgspec.structs.replace(
        row,
        id=f"p-image-{number}",
        job_id=job.id,
        item_id=derived_id(job.id, row.ai_provider, 0),
        generated_image_url=row.generated_image_url.replace("/p-", f"/p-{number}-"),
        original_image_r2_key=f"project/p/jobs/{job.id}/orig/{row.ai_provider}-0",
        prompt=f"{row.prompt}, take {number}",
        sha256=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        created_at=job.created_at + 9_000,
    )


async def run(home: Path, id: str) -> Figures:
    """Make one artifact of that kind, and tell what it took."""
    async with pages_env(home) as env:
        generator = registry.find(id)
        project = await db.get_project(env, "p")
        began = time.process_time()
        assert len((await db.list_progressions(env, "p", limit=IMAGES)).items) == IMAGES
        least = time.process_time() - began
        draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="default", options={})
        options = registry.decode_options(generator, {})
        started, began = time.perf_counter(), time.process_time()
        output = await generator.generate(env, draft, [project], options)
        seconds, (child, spent) = time.perf_counter() - started, children()
        cpu = time.process_time() - began + spent
    made = sum(len(file.data) for file in (output.index, *output.beside))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(id, seconds, cpu, least, own, child, made / 1024, len(output.progression_ids))


def children() -> tuple[float, float]:
    """The most megabytes that a living child of this process had, and the seconds of all of them (Linux: /proc)."""
    peaks, ticks = [0.0], 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
            peaks.append(int(facts["VmHWM"].split()[0]) / 1024)
    return max(peaks), ticks / os.sysconf("SC_CLK_TCK")


def measured(home: Path, id: str) -> Figures:
    """The figures of a run in a process of its own, whose child is a child of that."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.bench.generators", "run", str(home), id], stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(made.stdout.splitlines()[-1], type=Figures)


def main(args: Sequence[str]) -> None:
    match args:
        case ["run", home, id]:
            print(msgspec.json.encode(asyncio.run(run(Path(home), id))).decode())
        case ids:
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(filled(Path(folder)))
                for id in ids or registry.known():
                    told = measured(Path(folder), id)
                    print(
                        f"{told.id:22} {told.seconds:7.2f} s, {told.cpu:6.2f} s CPU, "
                        f"{told.cpu / told.least:6.1f} × reading   "
                        f"peak {told.peak:4.0f} MB, child {told.child:4.0f} MB   "
                        f"{told.kilobytes:7.0f} kB of {told.shown:4} images",
                        flush=True,
                    )


async def filled(home: Path) -> None:
    """The data directory that all runs read."""
    async with pages_env(home) as env:
        await fill(env)


if __name__ == "__main__":
    main(sys.argv[1:])
