"""A writer of GLB, the binary form of glTF 2.0: one scene of plain meshes, pictures as textures, lights, one camera.

Metres, Y up. The same calls give the same bytes.
"""

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

Vector = tuple[float, float, float]
Json = dict[str, object]

FLOAT, SHORT = 5126, 5123
VERTICES, INDICES = 34962, 34963
UNLIT, LIGHTS = "KHR_materials_unlit", "KHR_lights_punctual"
MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


class Faces(NamedTuple):
    """Triangles: a normal and a texture coordinate for each corner, and three indices for each face."""

    corners: Sequence[Vector]
    normals: Sequence[Vector]
    coordinates: Sequence[tuple[float, float]]
    indices: Sequence[int]


class Paint(NamedTuple):
    """The look of a surface. `image` is the number that `Scene.image` returned; `is_lit` is false for a surface without
    shading, `is_clear` true where the image's alpha counts."""

    colour: Vector = (1.0, 1.0, 1.0)
    rough: float = 0.9
    image: int | None = None
    is_lit: bool = True
    is_clear: bool = False


class Scene:
    """Collects the parts of a scene and writes them as one file at the end."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._views: list[Json] = []
        self._accessors: list[Json] = []
        self._meshes: list[Json] = []
        self._materials: list[Json] = []
        self._images: list[Json] = []
        self._nodes: list[Json] = []
        self._cameras: list[Json] = []
        self._lights: list[Json] = []
        self._shapes: dict[int, tuple[Faces, Json]] = {}

    def image(self, data: bytes, mime: str, name: str) -> int:
        """Add a JPEG or PNG as a texture; returns its number."""
        self._images.append({"name": name, "mimeType": mime, "bufferView": self._view(data, None)})
        return len(self._images) - 1

    def material(self, paint: Paint, name: str) -> int:
        """Add a material; returns its number."""
        surface: Json = {"baseColorFactor": [*paint.colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": paint.rough}
        if paint.image is not None:
            surface["baseColorTexture"] = {"index": paint.image}
        material: Json = {"name": name, "pbrMetallicRoughness": surface}
        if paint.is_clear:
            material["alphaMode"] = "BLEND"
        if not paint.is_lit:
            material["extensions"] = {UNLIT: {}}
        self._materials.append(material)
        return len(self._materials) - 1

    def mesh(self, faces: Faces, material: int, name: str) -> int:
        """Add a mesh of faces in a material; returns its number. A Faces object that is used again is stored once."""
        if id(faces) not in self._shapes:
            # The object is kept alive, so that no other object gets its id.
            self._shapes[id(faces)] = faces, self._primitive(faces)
        primitive = {**self._shapes[id(faces)][1], "material": material}
        self._meshes.append({"name": name, "primitives": [primitive]})
        return len(self._meshes) - 1

    def place(
        self, mesh: int, name: str, at: Vector = (0, 0, 0), size: Vector = (1, 1, 1), turn: float = 0.0, says: str = ""
    ) -> None:
        """Put a mesh into the scene, turned by `turn` degrees about the vertical. `says` is its description."""
        description: Json = {"extras": {"description": says}} if says else {}
        self._nodes.append(
            {"name": name, "mesh": mesh, "translation": at, "scale": size, "rotation": _about_y(turn), **description}
        )

    def light(self, at: Vector, candela: float, reach: float) -> None:
        """Add a point light with a range of `reach` metres."""
        self._lights.append(
            {"type": "point", "color": [1.0, 0.96, 0.9], "intensity": candela, "range": reach, "name": "Lamp"}
        )
        light = {"light": len(self._lights) - 1}
        self._nodes.append({"name": "Lamp", "translation": at, "extensions": {LIGHTS: light}})

    def camera(self, at: Vector, turn: float) -> None:
        """Add the camera, turned by `turn` degrees about the vertical."""
        lens = {"yfov": math.radians(60), "znear": 0.05, "zfar": 500.0}
        self._cameras.append({"type": "perspective", "perspective": lens, "name": "Entrance"})
        node: Json = {"name": "Entrance", "camera": len(self._cameras) - 1, "translation": at}
        self._nodes.append({**node, "rotation": _about_y(turn)})

    def write(self, title: str) -> bytes:
        """The whole file as GLB."""
        while len(self._binary) % 4:
            self._binary.append(0)
        text = msgspec.json.encode({name: part for name, part in self._document(title).items() if part != []})
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        chunks += struct.pack("<II", len(self._binary), BINARY_CHUNK) + self._binary
        return struct.pack("<III", MAGIC, 2, 12 + len(chunks)) + chunks

    def _document(self, title: str) -> Json:
        return {
            "asset": {"version": "2.0", "generator": "picasso", "extras": {"title": title}},
            "extensionsUsed": [UNLIT, LIGHTS],
            "extensions": {LIGHTS: {"lights": self._lights}},
            "scene": 0,
            "scenes": [{"name": title, "nodes": list(range(len(self._nodes)))}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "textures": [{"sampler": 0, "source": number} for number in range(len(self._images))],
            "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}],
            "images": self._images,
            "cameras": self._cameras,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }

    def _primitive(self, faces: Faces) -> Json:
        corners = _floats(faces.corners)
        # Bounds of the stored 32-bit numbers, from which the originals differ slightly.
        stored = list(struct.iter_unpack("<3f", corners))
        bounds: Json = {"min": list(map(min, *stored)), "max": list(map(max, *stored))}
        return {
            "attributes": {
                "POSITION": self._accessor(corners, "VEC3", len(faces.corners), bounds),
                "NORMAL": self._accessor(_floats(faces.normals), "VEC3", len(faces.normals), {}),
                "TEXCOORD_0": self._accessor(_floats(faces.coordinates), "VEC2", len(faces.coordinates), {}),
            },
            "indices": self._indices(faces.indices),
        }

    def _accessor(self, data: bytes, kind: str, count: int, bounds: Json) -> int:
        view = self._view(data, VERTICES)
        self._accessors.append({"bufferView": view, "componentType": FLOAT, "type": kind, "count": count, **bounds})
        return len(self._accessors) - 1

    def _indices(self, indices: Sequence[int]) -> int:
        view = self._view(struct.pack(f"<{len(indices)}H", *indices), INDICES)
        self._accessors.append({"bufferView": view, "componentType": SHORT, "type": "SCALAR", "count": len(indices)})
        return len(self._accessors) - 1

    def _view(self, data: bytes, target: int | None) -> int:
        while len(self._binary) % 4:
            self._binary.append(0)
        view: Json = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._views.append(view if target is None else {**view, "target": target})
        self._binary += data
        return len(self._views) - 1


def _floats(rows: Sequence[Sequence[float]]) -> bytes:
    return b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)


def _about_y(degrees: float) -> list[float]:
    half = math.radians(degrees) / 2
    return [0.0, round(math.sin(half), 9), 0.0, round(math.cos(half), 9)]


def sheet(width: float = 1.0, height: float = 1.0, repeat: float = 0.0) -> Faces:
    """An upright rectangle centred at the origin, facing +Z; its image fills it or repeats every `repeat` metres."""
    x, y = width / 2, height / 2
    across, down = (width / repeat, height / repeat) if repeat else (1.0, 1.0)
    return Faces(
        [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)],
        [(0, 0, 1)] * 4,
        [(0, down), (across, down), (across, 0), (0, 0)],
        [0, 1, 2, 0, 2, 3],
    )


def slab(width: float, depth: float, repeat: float, faces_up: bool) -> Faces:
    """A horizontal rectangle centred at the origin, visible from above or from below."""
    x, z = width / 2, depth / 2
    corners: list[Vector] = [(-x, 0, z), (x, 0, z), (x, 0, -z), (-x, 0, -z)]
    coordinates = [(0, depth / repeat), (width / repeat, depth / repeat), (width / repeat, 0), (0, 0)]
    if faces_up:
        return Faces(corners, [(0, 1, 0)] * 4, coordinates, [0, 1, 2, 0, 2, 3])
    return Faces(corners, [(0, -1, 0)] * 4, coordinates, [0, 2, 1, 0, 3, 2])


def box() -> Faces:
    """A cube of one metre centred at the origin."""
    corners: list[Vector] = []
    normals: list[Vector] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = tuple(sign if i == axis else 0.0 for i in range(3))
            right = tuple(1.0 if i == (axis + (1 if sign > 0 else 2)) % 3 else 0.0 for i in range(3))
            up = tuple(1.0 if i == (axis + (2 if sign > 0 else 1)) % 3 else 0.0 for i in range(3))
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = [(n + a * r + b * u) / 2 for n, r, u in zip(normal, right, up, strict=True)]
                corners.append((corner[0], corner[1], corner[2]))
                normals.append((normal[0], normal[1], normal[2]))
    indices = [4 * face + corner for face in range(6) for corner in (0, 1, 2, 0, 2, 3)]
    return Faces(corners, normals, [(0, 1), (1, 1), (1, 0), (0, 0)] * 6, indices)
