"""Readers of the files that generators write, made from the formats' specifications: MP4 (ISO/IEC 14496-12) and GLB
(glTF 2.0)."""

import json
import struct
from dataclasses import dataclass
from typing import Any

CONTAINERS = frozenset({"moov", "trak", "mdia", "minf", "stbl", "dinf", "edts", "udta"})
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
COMPONENTS = {5123: ("H", 2), 5125: ("I", 4), 5126: ("f", 4)}


@dataclass(frozen=True)
class Box:
    """A box of an MP4: its type, where it begins, its body, and the boxes inside it."""

    kind: str
    start: int
    body: bytes
    inside: "tuple[Box, ...]"

    def all(self, kind: str) -> "list[Box]":
        return [found for box in self.inside for found in ([box] if box.kind == kind else []) + box.all(kind)]

    def one(self, kind: str) -> "Box":
        (found,) = self.all(kind)
        return found


def boxes(data: bytes, start: int = 0) -> tuple[Box, ...]:
    """The boxes, which must fill the data to its end."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at, f"a box of {size} bytes at {start + at}"
        name, body = kind.decode("latin-1"), data[at + 8 : at + size]
        found.append(Box(name, start + at, body, boxes(body, start + at + 8) if name in CONTAINERS else ()))
        at += size
    return tuple(found)


@dataclass(frozen=True)
class Film:
    """The properties of an MP4 with one video track. Times in seconds, sizes in pixels."""

    order: list[str]
    width: int
    height: int
    seconds: float
    frames: int
    key_frames: list[int]
    created: set[int]
    codec: str
    profile: int
    samples: list[tuple[int, int]]
    """Where each sample lies and how large it is."""


def film(data: bytes) -> Film:
    top = Box("", 0, b"", boxes(data))
    (track,) = top.all("trak")
    head, media, movie = track.one("tkhd").body, track.one("mdhd").body, top.one("mvhd").body
    scale, length = struct.unpack_from(">II", media, 12)
    entry = track.one("stsd").body[8:]
    avcc = entry[entry.index(b"avcC") + 4 :]
    width, height = struct.unpack_from(">HH", entry, 32)
    assert struct.unpack_from(">II", head, 76) == (width << 16, height << 16)
    return Film(
        order=[box.kind for box in top.inside],
        width=width,
        height=height,
        seconds=length / scale,
        frames=struct.unpack_from(">I", track.one("stsz").body, 8)[0],
        key_frames=_numbers(track.one("stss").body),
        created={value for body in (movie, media, head) for value in struct.unpack_from(">II", body, 4)},
        codec=entry[4:8].decode(),
        profile=avcc[1],
        samples=_samples(track),
    )


def _numbers(body: bytes) -> list[int]:
    (count,) = struct.unpack_from(">I", body, 4)
    return list(struct.unpack_from(f">{count}I", body, 8))


def _samples(track: Box) -> list[tuple[int, int]]:
    """The offset and size of every sample, from the chunk offsets and the number of samples in each chunk."""
    (count,) = struct.unpack_from(">I", track.one("stsz").body, 8)
    sizes = struct.unpack_from(f">{count}I", track.one("stsz").body, 12)
    (runs,) = struct.unpack_from(">I", track.one("stsc").body, 4)
    chunks = _numbers(track.one("stco").body)
    first = [struct.unpack_from(">III", track.one("stsc").body, 8 + 12 * run) for run in range(runs)]
    samples: list[tuple[int, int]] = []
    for number, place in enumerate(chunks, 1):
        held = next(each for begin, each, _ in reversed(first) if begin <= number)
        for size in sizes[len(samples) : len(samples) + held]:
            samples.append((place, size))
            place += size
    assert len(samples) == count
    return samples


class Glb:
    """A GLB whose chunks, views and accessors were validated against the format."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0" and binary % 4 == 0 and 28 + size + binary == len(data)
        self.binary = data[28 + size :]
        (buffer,) = self.json["buffers"]
        assert buffer["byteLength"] == len(self.binary)
        self._check_views()
        self.accessors = [self._read(accessor) for accessor in self.json["accessors"]]

    def view(self, number: int) -> bytes:
        view = self.json["bufferViews"][number]
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def image(self, node: dict[str, Any]) -> bytes:
        """The bytes of the image on this node's mesh."""
        (primitive,) = self.json["meshes"][node["mesh"]]["primitives"]
        surface = self.json["materials"][primitive["material"]]["pbrMetallicRoughness"]
        source = self.json["textures"][surface["baseColorTexture"]["index"]]["source"]
        return self.view(self.json["images"][source]["bufferView"])

    def nodes(self, ending: str) -> list[dict[str, Any]]:
        return [node for node in self.json["nodes"] if node["name"].endswith(ending)]

    def _check_views(self) -> None:
        end = 0
        for view in self.json["bufferViews"]:
            assert view["byteOffset"] % 4 == 0 and view["byteOffset"] >= end
            end = view["byteOffset"] + view["byteLength"]
            assert end <= len(self.binary)

    def _read(self, accessor: dict[str, Any]) -> list[tuple[float, ...]]:
        letter, size = COMPONENTS[accessor["componentType"]]
        width, data = SIZES[accessor["type"]], self.view(accessor["bufferView"])
        assert len(data) == accessor["count"] * width * size
        rows = list(struct.iter_unpack(f"<{width}{letter}", data))
        for name, best in (("min", min), ("max", max)):
            if name in accessor:
                assert accessor[name] == [best(row[axis] for row in rows) for axis in range(width)]
        return rows
