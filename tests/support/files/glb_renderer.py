"""A small renderer of the exhibition: what the camera of a GLB sees, from the file's own meshes, pictures and lights.

It reads the file as glTF 2.0 defines it and supports what `generators/media/glb.py` writes: unlit and lit materials,
textures, point lights, one camera. A pixel shows what is nearest on its ray; there are no shadows beyond those in the
file.
"""

import io
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
NEAR = 0.05
AMBIENT, GAMMA = 0.5, 2.2
BRIGHT = 1.75
"""What keeps a surface beside a lamp from going white: light is pressed together towards this."""
TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
NUMBERS = {5123: np.uint16, 5126: np.float32}


@dataclass(frozen=True)
class Lamp:
    at: Floats
    candela: float


@dataclass(frozen=True)
class Surface:
    """A material, its texture with values of 0 to 1 in four channels."""

    colour: Floats
    texture: Floats | None
    is_lit: bool


class Model:
    """The file, opened."""

    def __init__(self, data: bytes) -> None:
        size = struct.unpack_from("<I", data, 12)[0]
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        self._binary = data[28 + size :]
        self._images: dict[int, Floats] = {}

    def numbers(self, accessor: int) -> NDArray[Any]:
        told = self.json["accessors"][accessor]
        start = self.json["bufferViews"][told["bufferView"]].get("byteOffset", 0) + told.get("byteOffset", 0)
        width = TYPES[told["type"]]
        found = np.frombuffer(self._binary, NUMBERS[told["componentType"]], told["count"] * width, start)
        return found.reshape(-1, width) if width > 1 else found

    def surface(self, material: int) -> Surface:
        told = self.json["materials"][material]
        painted = told["pbrMetallicRoughness"]
        texture = painted.get("baseColorTexture")
        return Surface(
            np.array(painted["baseColorFactor"][:3], np.float32),
            None if texture is None else self._image(self.json["textures"][texture["index"]]["source"]),
            "KHR_materials_unlit" not in told.get("extensions", {}),
        )

    def _image(self, number: int) -> Floats:
        if number not in self._images:
            view = self.json["bufferViews"][self.json["images"][number]["bufferView"]]
            start = view.get("byteOffset", 0)
            with Image.open(io.BytesIO(self._binary[start : start + view["byteLength"]])) as picture:
                read = np.asarray(picture.convert("RGBA"), np.float32) / 255
            self._images[number] = np.dstack([read[:, :, :3] ** GAMMA, read[:, :, 3]])
        return self._images[number]


def draw(data: bytes, size: tuple[int, int], finer: int = 2) -> Image.Image:
    """The view from the entrance, rendered at a higher resolution and scaled down."""
    model = Model(data)
    nodes = model.json["nodes"]
    eye = next(node for node in nodes if "camera" in node)
    lamps = [
        Lamp(np.array(node["translation"], np.float32), model.json["extensions"]["KHR_lights_punctual"]["lights"][
            node["extensions"]["KHR_lights_punctual"]["light"]]["intensity"])
        for node in nodes if "KHR_lights_punctual" in node.get("extensions", {})
    ]  # fmt: skip
    canvas = Canvas(size[0] * finer, size[1] * finer, eye, lamps)
    solid = [node for node in nodes if "mesh" in node and not _is_clear(model, node)]
    clear = [node for node in nodes if "mesh" in node and _is_clear(model, node)]
    for node in [*solid, *clear]:
        _draw_node(canvas, model, node)
    return Image.fromarray((np.clip(canvas.colours, 0, 1) ** (1 / GAMMA) * 255).astype(np.uint8)).resize(
        size, Image.Resampling.BOX
    )


def _is_clear(model: Model, node: dict[str, Any]) -> bool:
    (part,) = model.json["meshes"][node["mesh"]]["primitives"]
    return bool(model.json["materials"][part["material"]].get("alphaMode") == "BLEND")


def _draw_node(canvas: "Canvas", model: Model, node: dict[str, Any]) -> None:
    (part,) = model.json["meshes"][node["mesh"]]["primitives"]
    turn = _turn(node.get("rotation", (0, 0, 0, 1)))
    size, at = (
        np.array(node.get(key, plain), np.float32) for key, plain in (("scale", [1] * 3), ("translation", [0] * 3))
    )
    corners = (model.numbers(part["attributes"]["POSITION"]) * size) @ turn.T + at
    normals = model.numbers(part["attributes"]["NORMAL"]) @ turn.T
    places = model.numbers(part["attributes"]["TEXCOORD_0"])
    surface = model.surface(part["material"])
    for face in model.numbers(part["indices"]).reshape(-1, 3):
        canvas.fill(corners[face], normals[face[0]], places[face], surface)


def _turn(quaternion: tuple[float, float, float, float]) -> Floats:
    x, y, z, w = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ], np.float32)  # fmt: skip


class Canvas:
    """Colours and depths of a view: X to the right, Y up, looking along -Z of the camera."""

    def __init__(self, width: int, height: int, eye: dict[str, Any], lamps: list[Lamp]) -> None:
        self.colours = np.zeros((height, width, 3), np.float32)
        self._depths = np.full((height, width), np.inf, np.float32)
        self._at, self._turn = np.array(eye["translation"], np.float32), _turn(eye.get("rotation", (0, 0, 0, 1)))
        self._lens = height / 2 / math.tan(math.radians(60) / 2)
        self._lamps = lamps

    def fill(self, corners: Floats, normal: Floats, places: Floats, surface: Surface) -> None:
        """Draw one triangle, clipped at the near plane; one that faces away is not drawn."""
        if np.dot(self._at - corners[0], normal) <= 0:
            return
        seen = (corners - self._at) @ self._turn
        for part in _before(np.hstack([seen, corners, places]).astype(np.float32)):
            self._fill_part(part, normal, surface)

    def _fill_part(self, part: Floats, normal: Floats, surface: Surface) -> None:
        height, width = self._depths.shape
        depth = -part[:, 2]
        across = width / 2 + part[:, 0] / depth * self._lens
        down = height / 2 - part[:, 1] / depth * self._lens
        left, right = max(0, math.floor(across.min())), min(width, math.ceil(across.max()) + 1)
        top, bottom = max(0, math.floor(down.min())), min(height, math.ceil(down.max()) + 1)
        area = (across[1] - across[0]) * (down[2] - down[0]) - (across[2] - across[0]) * (down[1] - down[0])
        if left >= right or top >= bottom or abs(area) < 1e-6:
            return
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        second = ((x - across[0]) * (down[2] - down[0]) - (across[2] - across[0]) * (y - down[0])) / area
        third = ((across[1] - across[0]) * (y - down[0]) - (x - across[0]) * (down[1] - down[0])) / area
        shares = np.stack([1 - second - third, second, third], -1)
        near = shares @ (1 / depth)
        window = self._depths[top:bottom, left:right]
        hit = (shares.min(-1) >= -1e-6) & (near > 0) & (1 / np.maximum(near, 1e-9) <= window)
        if not hit.any():
            return
        values = (shares[hit] / depth) @ part[:, 3:] / near[hit][:, None]
        colours, alpha = self._shade(values[:, :3], values[:, 3:], normal, surface)
        under = self.colours[top:bottom, left:right]
        under[hit] = colours * alpha + under[hit] * (1 - alpha)
        window[hit] = np.where(alpha[:, 0] > 0.5, 1 / near[hit], window[hit])

    def _shade(self, at: Floats, places: Floats, normal: Floats, surface: Surface) -> tuple[Floats, Floats]:
        """Colour and opacity of points of a surface."""
        colours, alpha = np.broadcast_to(surface.colour, at.shape), np.ones((len(at), 1), np.float32)
        if surface.texture is not None:
            read = _read(surface.texture, places)
            colours, alpha = colours * read[:, :3], read[:, 3:]
        return (colours * self._light(at, normal) if surface.is_lit else colours), alpha

    def _light(self, at: Floats, normal: Floats) -> Floats:
        light = np.full((len(at), 1), AMBIENT, np.float32)
        for lamp in self._lamps:
            way = lamp.at - at
            far = np.linalg.norm(way, axis=1, keepdims=True)
            light += np.maximum(0, way @ normal[:, None] / far) * lamp.candela / 24 / (1 + far**2 / 4)
        return light / (1 + light) * BRIGHT


def _before(corners: Floats) -> list[Floats]:
    """The triangle as zero, one or two triangles that are wholly in front of the near plane."""
    kept: list[Floats] = []
    for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        is_in, goes_in = -one[2] > NEAR, -other[2] > NEAR
        kept += [one] if is_in else []
        if is_in != goes_in:
            kept.append(one + (other - one) * ((-NEAR - one[2]) / (other[2] - one[2])))
    return [np.array([kept[0], kept[n], kept[n + 1]]) for n in range(1, len(kept) - 1)]


def _read(texture: Floats, places: Floats) -> Floats:
    """The texture at coordinates of 0 to 1, repeated beyond them, four neighbours mixed."""
    height, width, _ = texture.shape
    x, y = places[:, 0] * width - 0.5, places[:, 1] * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = (x - left)[:, None], (y - top)[:, None]
    upper = texture[top % height, left % width] * (1 - right) + texture[top % height, (left + 1) % width] * right
    lower = (
        texture[(top + 1) % height, left % width] * (1 - right)
        + texture[(top + 1) % height, (left + 1) % width] * right
    )
    blended: Floats = upper * (1 - low) + lower * low
    return blended
