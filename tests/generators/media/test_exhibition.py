"""The exhibition, read by a GLB reader of our own and by an independent one."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trimesh
from PIL import Image

from generators.media import exhibition
from generators.media.exhibition import BETWEEN, DEPTH, EYES, HEIGHT, MAT, Room
from generators.shared.image_pages import Shown
from tests.support.files.mp4_and_glb import Glb
from tests.support.samples.page_site import add_project, row
from tests.support.samples.project_with_originals import COLOURS, SHAPES, add_pictures, made, pictures_env
from tools.rows import Project


def project(name: str) -> Project:
    return Project(name, name, None, None, 1, 1)


def rooms_of(*counts: int) -> list[Room]:
    return exhibition.plan(
        [
            Shown(
                project(f"p{n}"),
                [row(f"p{n}", i, width=SHAPES[i % 4][0], height=SHAPES[i % 4][1]) for i in range(count)],
                False,
            )
            for n, count in enumerate(counts)
        ]
    )


async def test_every_image_hangs_in_its_own_shape_with_its_label(tmp_path: Path) -> None:
    """GLB whose chunks, views and bounds are right; each image is a JPEG drawn anew, as wide and high as it is in
    pixels, framed and labelled; the same rows give the same bytes."""
    async with pictures_env(tmp_path, 4) as env:
        first, second = await made(env, "exhibition", {}), await made(env, "exhibition", {})
    assert first == second and first.index.content_type == "model/gltf-binary"
    assert first.progression_ids == ("p-0", "p-1", "p-2", "p-3")
    glb = Glb(first.index.data)
    hung = glb.nodes(" image")
    assert [node["name"] for node in hung] == [f"No. {n} image" for n in range(1, 5)]
    assert len(glb.nodes(" label")) == 4 and len(glb.nodes(" frame")) == 16
    for number, node in enumerate(hung):
        with Image.open(io.BytesIO(glb.image(node))) as image:
            assert image.format == "JPEG" and not image.getexif()
            width, height, _ = node["scale"]
            assert abs(width / height - SHAPES[number][0] / SHAPES[number][1]) < 0.01
            seen: Any = image.resize((1, 1)).getpixel((0, 0))
            assert all(abs(a - b) < 20 for a, b in zip(seen, COLOURS[number], strict=True))
    assert b"SECRET" not in first.index.data
    assert len(glb.nodes("Entrance")) == 1 and glb.json["extensionsUsed"] == [
        "KHR_materials_unlit",
        "KHR_lights_punctual",
    ]


async def test_an_independent_reader_finds_the_same_rooms(tmp_path: Path) -> None:
    """Two projects, one without images: every part loads, with its textures, within the rooms' bounds."""
    async with pictures_env(tmp_path, 2) as env:
        await add_project(env, "q", "Bare")
        data = (await made(env, "exhibition", {"labels": False}, projects="pq")).index.data
    scene: Any = trimesh.load_scene(io.BytesIO(data), file_type="glb")
    low, high = scene.bounds
    rooms = exhibition.plan(
        [
            Shown(project("p"), [row("p", n, width=SHAPES[n][0], height=SHAPES[n][1]) for n in range(2)], False),
            Shown(project("q"), [], False),
        ]
    )
    assert low == pytest.approx([rooms[0].west, 0, -DEPTH / 2], abs=0.02)
    assert high == pytest.approx([rooms[1].west + rooms[1].length, HEIGHT, DEPTH / 2], abs=0.02)
    textured = [mesh for mesh in scene.geometry.values() if mesh.visual.material.baseColorTexture is not None]
    assert len(textured) >= 2 + 3
    assert len(Glb(data).nodes("Jamb")) == 2 and not Glb(data).nodes(" label")


@pytest.mark.parametrize("counts", [(0,), (1,), (12,), (13,), (7, 0, 30), (200,)], ids=str)
def test_images_hang_on_their_rooms_walls_and_apart(counts: tuple[int, ...]) -> None:
    """Rooms follow one another; every picture hangs within its room, below the ceiling, and touches no other."""
    rooms = rooms_of(*counts)
    assert sum(len(room.hung) for room in rooms) == min(sum(counts), 60)
    assert all(len(room.hung) <= 12 for room in rooms)
    for before, after in pairwise(rooms):
        assert after.west == pytest.approx(before.west + before.length + BETWEEN)
    for room in rooms:
        for is_north in (True, False):
            wall = [hung for hung in room.hung if hung.is_north is is_north]
            edges = [(hung.along - hung.width / 2 - MAT, hung.along + hung.width / 2 + MAT) for hung in wall]
            assert all(room.west + 0.3 < left and right < room.west + room.length - 0.3 for left, right in edges)
            assert all(right + 0.5 < left for (_, right), (left, _) in pairwise(edges))
            assert all(EYES + hung.height / 2 + MAT < HEIGHT - 0.3 and hung.height / 2 + MAT < EYES for hung in wall)


def test_every_face_looks_where_its_normal_does() -> None:
    """Corners run against the clock as seen from outside, or half the walls would not be drawn."""
    from generators.media import glb

    for faces in (glb.box(), glb.sheet(2, 3), glb.slab(2, 3, 1, True), glb.slab(2, 3, 1, False)):
        for a, b, c in zip(*[iter(faces.indices)] * 3, strict=True):
            one = [q - p for p, q in zip(faces.corners[a], faces.corners[b], strict=True)]
            two = [q - p for p, q in zip(faces.corners[a], faces.corners[c], strict=True)]
            cross = [one[(i + 1) % 3] * two[(i + 2) % 3] - one[(i + 2) % 3] * two[(i + 1) % 3] for i in range(3)]
            assert sum(x * n for x, n in zip(cross, faces.normals[a], strict=True)) > 0


async def test_hostile_words_are_only_words(tmp_path: Path) -> None:
    """They stand as text on labels and in names."""
    async with pictures_env(tmp_path, 0) as env:
        await add_pictures(env, "p", 1, [{"prompt": '</script>#panic("x")'}])
        glb = Glb((await made(env, "exhibition", {}, '"}]<script>')).index.data)
    assert glb.json["scenes"][0]["name"] == '"}]<script>'
    assert glb.nodes(" image")[0]["extras"]["description"] == '</script>#panic("x")'
