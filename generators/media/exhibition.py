"""An exhibition: rooms with the images on their walls, framed and labelled, to walk through in any viewer of GLB.

The rooms are in a row from west (-X) to east; walls and ceilings are visible only from inside, so that a view from
above shows the rooms as in a doll's house.
"""

import io
import itertools
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from PIL import Image, ImageDraw, ImageFilter

from generators.generator import File, Output
from generators.media import typesetting
from generators.media.glb import Faces, Paint, Scene, Vector, box, sheet, slab
from generators.shared import image_pages
from generators.shared.image_pages import Selection, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

MOST_IMAGES = 60
ROOM_IMAGES = 12
SIDE = 1024
"""The longer side of a texture, in pixels."""
PROMPT_SHOWN = 130
DEPTH, HEIGHT, BETWEEN = 7.0, 3.8, 0.24
"""Depth and height of each room, and the thickness of the wall to the next, in metres."""
SHORTEST = 6.0
DOOR = (1.8, 2.6)
AREA, WIDEST, TALLEST = 1.7, 2.7, 2.0
"""The area of an image in square metres, and the maximum of its width and height in metres."""
EYES, GAP, BAR, MAT = 1.62, 1.1, 0.05, 0.08
LABEL = (0.40, 0.225)
WALL_TEXT = (3.6, 1.44)


class ExhibitionOptions(Selection, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """At most 60 images are hung, the newest of all."""

    labels: bool = True


class Label(msgspec.Struct, frozen=True, tag_field="kind", tag="label"):
    number: int
    prompt: str
    verdict: str
    words: str
    maker: str


class Wall(msgspec.Struct, frozen=True, tag_field="kind", tag="wall"):
    title: str
    lines: list[str]


class Hung(msgspec.Struct, frozen=True):
    """An image with its position: its centre along the wall, and its size, in metres."""

    number: int
    row: Progression
    along: float
    is_north: bool
    width: float
    height: float


class Room(msgspec.Struct, frozen=True):
    """A room that begins at `west` and is `length` metres long."""

    name: str
    lines: list[str]
    west: float
    length: float
    hung: list[Hung]


class Kit(NamedTuple):
    """Shapes and materials that many parts of the rooms share."""

    sheet: Faces
    box: Faces
    wall: int
    ceiling: int
    floor: int
    skirting: int
    frame: int
    mat: int
    shade: int


class Exhibition:
    id = "exhibition"
    name = "Exhibition"
    output: Literal["3d"] = "3d"
    options = ExhibitionOptions
    modules = ("typst",)

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: ExhibitionOptions
    ) -> Output:
        """The exhibition of the projects' images as GLB.

        Fails: Invalid (`not_installed`, `render_too_large`) · NotFound · Unavailable.
        """
        typesetting.check_installed(self.modules)
        rooms = plan(await image_pages.collect(env, projects, options))
        hung = [each for room in rooms for each in room.hung]
        pictures = await image_pages.pictures(env, [each.row for each in hung], SIDE)
        words = written(artifact.title, rooms)
        writing = await typesetting.in_press(typesetting.labels, env.ASSETS.read("exhibition.typ"), words)
        made = await typesetting.in_press(build, artifact.title, rooms, pictures, writing, options.labels)
        return Output(
            index=File("index.glb", made, "model/gltf-binary"),
            progression_ids=tuple(each.row.id for each in hung),
        )


generator = Exhibition()


def plan(shown: Sequence[Shown]) -> list[Room]:
    """The rooms in order, a project's next to each other; at least one."""
    every = image_pages.all_rows(shown)
    kept = {row.id for row in sorted(every, key=lambda row: row.created_at)[-MOST_IMAGES:]}
    rooms: list[Room] = []
    number = itertools.count(1)
    for part in shown:
        rows = [row for row in part.rows if row.id in kept]
        for start in range(0, max(1, len(rows)), ROOM_IMAGES):
            west = rooms[-1].west + rooms[-1].length + BETWEEN if rooms else 0.0
            numbered = [(next(number), row) for row in rows[start : start + ROOM_IMAGES]]
            rooms.append(_room(part.project, rows, numbered, west))
    return rooms


def _room(
    project: Project, rows: Sequence[Progression], numbered: Sequence[tuple[int, Progression]], west: float
) -> Room:
    """One room: odd places on the north wall, even ones on the south wall, both from west to east."""
    walls = [numbered[0::2], numbered[1::2]]
    lengths = [sum(_size(row)[0] + GAP for _, row in wall) + GAP for wall in walls]
    lengths[0] += WALL_TEXT[0] + GAP
    length = round(max(SHORTEST, *lengths), 3)
    hung = []
    for is_north, wall, taken in zip((True, False), walls, lengths, strict=True):
        along = west + (length - taken) / 2 + GAP + (WALL_TEXT[0] + GAP if is_north else 0)
        for number, row in wall:
            width, height = _size(row)
            hung.append(Hung(number, row, round(along + width / 2, 3), is_north, width, height))
            along += width + GAP
    facts = " · ".join(f"{fact.count} {fact.word.lower()}" for fact in image_pages.facts(rows))
    lines = [facts, image_pages.period(rows)] if rows else ["There are no images yet."]
    return Room(
        typesetting.breakable(image_pages.line(project.name, 80)),
        lines,
        west,
        length,
        sorted(hung, key=lambda h: h.number),
    )


def _size(row: Progression) -> tuple[float, float]:
    """Width and height in metres: the image's own shape."""
    ratio = row.width / row.height
    height = min((AREA / ratio) ** 0.5, TALLEST, WIDEST / ratio)
    return round(height * ratio, 4), round(height, 4)


def written(title: str, rooms: Sequence[Room]) -> list[Label | Wall]:
    """The texts to typeset: the title, each room's name, each image's label."""
    names = [room.name for room in rooms]
    opening = Wall(typesetting.breakable(title), [image_pages.line(", ".join(dict.fromkeys(names)), 70)])
    labels = [_label(each) for room in rooms for each in room.hung]
    return [opening, *(Wall(room.name, room.lines) for room in rooms), *labels]


def _label(hung: Hung) -> Label:
    return Label(
        number=hung.number,
        prompt=typesetting.breakable(image_pages.line(hung.row.prompt, PROMPT_SHOWN)),
        verdict=hung.row.seen or "none",
        words=image_pages.VERDICTS[hung.row.seen],
        maker=image_pages.line(image_pages.maker(hung.row), 44),
    )


def build(
    title: str, rooms: Sequence[Room], pictures: Sequence[bytes], writing: Sequence[bytes], labels: bool
) -> bytes:
    """The GLB file. Runs in the child, because it draws the floor and the shadows."""
    scene = Scene()
    kit = _kit(scene)
    first, last = rooms[0], rooms[-1]
    scene.camera((first.west + 0.7, EYES, 0.0), -90.0)
    opening, names, cards = writing[0], writing[1 : len(rooms) + 1], iter(writing[len(rooms) + 1 :])
    _put_words(scene, kit, opening, "Title", (last.west + last.length - 0.01, 2.0, 0.0), -90.0)
    shown = iter(pictures)
    for room, name in zip(rooms, names, strict=True):
        _raise_walls(scene, kit, room, is_first=room is first, is_last=room is last)
        _put_words(scene, kit, name, room.name, _name_place(room), 0.0)
        for hung in room.hung:
            _hang(scene, kit, hung, next(shown), next(cards) if labels else None)
    return scene.write(title)


def _kit(scene: Scene) -> Kit:
    boards = scene.image(_boards(), "image/jpeg", "Floor boards")
    shade = scene.image(_shade(), "image/png", "Shadow")
    return Kit(
        sheet=sheet(),
        box=box(),
        wall=scene.material(Paint((0.90, 0.89, 0.87), 0.95), "Wall"),
        ceiling=scene.material(Paint((0.95, 0.95, 0.94), 0.95), "Ceiling"),
        floor=scene.material(Paint(rough=0.55, image=boards), "Floor"),
        skirting=scene.material(Paint((0.55, 0.53, 0.50), 0.8), "Skirting"),
        frame=scene.material(Paint((0.13, 0.10, 0.08), 0.45), "Frame"),
        mat=scene.material(Paint((0.97, 0.965, 0.95), 0.95), "Mat"),
        shade=scene.material(Paint(image=shade, is_lit=False, is_clear=True), "Shadow"),
    )


def _raise_walls(scene: Scene, kit: Kit, room: Room, *, is_first: bool, is_last: bool) -> None:
    middle = room.west + room.length / 2
    floor = scene.mesh(slab(room.length, DEPTH, 2.4, faces_up=True), kit.floor, "Floor")
    ceiling = scene.mesh(slab(room.length, DEPTH, 2.4, faces_up=False), kit.ceiling, "Ceiling")
    scene.place(floor, "Floor", (middle, 0.0, 0.0))
    scene.place(ceiling, "Ceiling", (middle, HEIGHT, 0.0))
    for z, turn in ((-DEPTH / 2, 0.0), (DEPTH / 2, 180.0)):
        _wall(scene, kit, (middle, 0.0, z), room.length, HEIGHT, turn)
    for x, turn, is_closed in ((room.west, 90.0, is_first), (room.west + room.length, -90.0, is_last)):
        if is_closed:
            _wall(scene, kit, (x, 0.0, 0.0), DEPTH, HEIGHT, turn)
        else:
            _wall_with_door(scene, kit, x, turn)
    if not is_last:
        _passage(scene, kit, room.west + room.length)
    _furnish(scene, kit, room, middle)


def _wall(scene: Scene, kit: Kit, foot: Vector, width: float, height: float, turn: float) -> None:
    """A wall with `foot` as the middle of its lower edge, turned by `turn` degrees."""
    x, y, z = foot
    upright = scene.mesh(kit.sheet, kit.wall, "Wall")
    scene.place(upright, "Wall", (x, y + height / 2, z), (width, height, 1.0), turn)
    if y == 0.0:
        skirting = scene.mesh(kit.box, kit.skirting, "Skirting")
        scene.place(skirting, "Skirting", (x, 0.05, z), (width, 0.1, 0.03), turn)


def _wall_with_door(scene: Scene, kit: Kit, x: float, turn: float) -> None:
    side = (DEPTH - DOOR[0]) / 2
    for z in (-1.0, 1.0):
        _wall(scene, kit, (x, 0.0, z * (DOOR[0] + side) / 2), side, HEIGHT, turn)
    _wall(scene, kit, (x, DOOR[1], 0.0), DOOR[0], HEIGHT - DOOR[1], turn)


def _passage(scene: Scene, kit: Kit, x: float) -> None:
    """The inside of the door between two rooms."""
    middle = x + BETWEEN / 2
    floor = scene.mesh(slab(BETWEEN, DOOR[0], 2.4, faces_up=True), kit.floor, "Threshold")
    lintel = scene.mesh(slab(BETWEEN, DOOR[0], 2.4, faces_up=False), kit.wall, "Lintel")
    jamb = scene.mesh(kit.sheet, kit.wall, "Jamb")
    scene.place(floor, "Threshold", (middle, 0.0, 0.0))
    scene.place(lintel, "Lintel", (middle, DOOR[1], 0.0))
    scene.place(jamb, "Jamb", (middle, DOOR[1] / 2, -DOOR[0] / 2), (BETWEEN, DOOR[1], 1.0), 0.0)
    scene.place(jamb, "Jamb", (middle, DOOR[1] / 2, DOOR[0] / 2), (BETWEEN, DOOR[1], 1.0), 180.0)


def _furnish(scene: Scene, kit: Kit, room: Room, middle: float) -> None:
    """A bench and the light."""
    wood = scene.mesh(kit.box, kit.frame, "Bench")
    scene.place(wood, "Bench", (middle, 0.42, 0.0), (1.7, 0.07, 0.46))
    for end in (-0.7, 0.7):
        scene.place(wood, "Bench", (middle + end, 0.195, 0.0), (0.06, 0.39, 0.4))
    scene.light((middle, HEIGHT - 0.5, 0.0), 45.0, room.length + DEPTH)


def _put_words(scene: Scene, kit: Kit, png: bytes, name: str, at: Vector, turn: float) -> None:
    words = Paint(image=scene.image(png, "image/png", name), is_lit=False, is_clear=True)
    mesh = scene.mesh(kit.sheet, scene.material(words, name), name)
    scene.place(mesh, name, at, (*WALL_TEXT, 1.0), turn, says=name)


def _name_place(room: Room) -> Vector:
    """The position of a room's name: on the north wall, before its first image."""
    north = [each.along - each.width / 2 for each in room.hung if each.is_north]
    middle = north[0] - GAP - WALL_TEXT[0] / 2 if north else room.west + room.length / 2
    return middle, 2.0, -DEPTH / 2 + 0.01


def _hang(scene: Scene, kit: Kit, hung: Hung, picture: bytes, label: bytes | None) -> None:
    """An image on its wall: shadow, mat, picture, frame, label."""
    name = f"No. {hung.number}"
    turn, out = (0.0, 1.0) if hung.is_north else (180.0, -1.0)
    wall = -out * DEPTH / 2

    def put(mesh: int, what: str, right: float, up: float, off: float, size: Vector, says: str = "") -> None:
        at = (hung.along + out * right, EYES + up, wall + out * off)
        scene.place(mesh, f"{name} {what}", at, size, turn, says)

    width, height = hung.width + 2 * MAT, hung.height + 2 * MAT
    painted = Paint(image=scene.image(picture, "image/jpeg", name), is_lit=False)
    put(scene.mesh(kit.sheet, kit.shade, name), "shadow", 0, -0.04, 0.004, (width + 0.5, height + 0.5, 1))
    put(scene.mesh(kit.sheet, kit.mat, name), "mat", 0, 0, 0.02, (width, height, 1))
    canvas = scene.mesh(kit.sheet, scene.material(painted, name), name)
    put(canvas, "image", 0, 0, 0.026, (hung.width, hung.height, 1), says=image_pages.alt(hung.row))
    bar = scene.mesh(kit.box, kit.frame, "Frame")
    for side in (-1.0, 1.0):
        put(bar, "frame", side * (width + BAR) / 2, 0, 0.025, (BAR, height + 2 * BAR, 0.05))
        put(bar, "frame", 0, side * (height + BAR) / 2, 0.025, (width, BAR, 0.05))
    if label is not None:
        card = Paint(image=scene.image(label, "image/png", f"{name} label"), is_lit=False)
        place = (width / 2 + BAR + 0.08 + LABEL[0] / 2, -min(height / 2, 0.6) + LABEL[1] / 2)
        mesh = scene.mesh(kit.sheet, scene.material(card, f"{name} label"), f"{name} label")
        put(mesh, "label", *place, 0.006, (*LABEL, 1.0), says=image_pages.alt(hung.row))


def _boards() -> bytes:
    """A square of floor boards that repeats."""
    chance, side, board = random.Random(5), 512, 64
    image = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(image)
    for row in range(side // board):
        cut = chance.randrange(side)
        for start in (cut - side, cut, cut + side // 2, cut - side // 2):
            tone = chance.uniform(0.86, 1.06)
            colour = (int(168 * tone), int(132 * tone), int(98 * tone))
            pen.rectangle((start, row * board, start + side // 2 - 2, row * board + board - 2), fill=colour)
    grain = Image.linear_gradient("L").resize((side, side)).point(lambda value: 128 + (value % 9) - 4)
    image = Image.composite(image, image.point(lambda value: int(value * 0.97)), grain)
    return _file(image, "JPEG")


def _shade() -> bytes:
    """The shadow of a frame on the wall: black with a soft edge."""
    alpha = Image.new("L", (128, 128))
    alpha.paste(120, (13, 15, 115, 117))
    image = Image.new("LA", (128, 128))
    image.putalpha(alpha.filter(ImageFilter.GaussianBlur(6)))
    return _file(image.convert("RGBA"), "PNG")


def _file(image: Image.Image, kind: Literal["JPEG", "PNG"]) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
