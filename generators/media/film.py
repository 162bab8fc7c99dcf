"""A film from still images: H.264 in MP4, 1280 × 720 at 25 frames a second, the same bytes for the same shots.

Everything here runs in the child of `tools/media/sandbox.py`, one shot at a time, so that memory holds two shots at
most. The streams of the shots begin with a key frame and share their parameters, so they are concatenated without
encoding again. A background is converted to planes of Y'CbCr once; moving the camera over these is half the work of
moving over RGB.
"""

import functools
import io
import math
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
from PIL import Image, ImageEnhance, ImageFilter
from PIL.Image import Resampling

WIDTH, HEIGHT, RATE = 1280, 720, 25
FADE = 12
"""Frames of the cross-fade between two shots."""
STAGE = (1600, 900)
"""The size of a background in pixels: larger than the frame, so that zooming in shows more detail."""
NEAR, STANDING_NEAR = 1.16, 1.06
FILLS = (1.3, 2.4)
"""Width by height of the images that fill the frame; others are shown whole before a blurred enlargement."""
INK = (20, 22, 26)
SETTINGS = {
    "preset": "superfast",
    "profile": "high",
    "crf": "21",
    "maxrate": "6M",
    "bufsize": "12M",
    "x264-params": "threads=2:bframes=0:keyint=250:scenecut=0:open-gop=0",
}
BT709 = (0.1826, 0.6142, 0.0620, 16, -0.1006, -0.3386, 0.4392, 128, 0.4392, -0.3989, -0.0403, 128)
"""RGB to Y'CbCr of limited range. Pillow's result is the same on every machine, which swscale does not promise."""
BACK = (1.1644, 0, 1.7927, -248.10, 1.1644, -0.2132, -0.5329, 76.88, 1.1644, 2.1124, 0, -289.02)
"""Y'CbCr to RGB."""

Box = tuple[float, float, float, float]


class Shot(msgspec.Struct, frozen=True):
    """An image (a JPEG; None is a plain background) under an overlay (a PNG of the frame's size), `frames` long.

    A `dim` shot is a still, blurred and darkened background for text. `move` selects the camera movement.
    """

    image: bytes | None
    overlay: bytes | None
    frames: int
    move: int = 0
    dim: bool = False


class _Planes(NamedTuple):
    """A picture in 4:2:0: luma, and both chroma planes at half its width and height."""

    light: Image.Image
    blue: Image.Image
    red: Image.Image


class _Words(NamedTuple):
    """The overlay cropped to its content, its alpha masks (at full and half size), and its even position."""

    planes: _Planes
    covers: tuple[Image.Image, Image.Image]
    place: tuple[int, int]


class _Set(NamedTuple):
    """A prepared shot: the background, where the camera begins and ends over it, the overlay. For a still, `ground` is
    the whole picture."""

    ground: _Planes
    begin: Box
    end: Box
    frames: int
    words: _Words | None
    is_still: bool = False


def encode(before: Shot | None, shot: Shot, is_last: bool) -> bytes:
    """The shot as an Annex B stream of `shot.frames` frames: it fades in from the shot before, or from black."""
    # Imported here, so that only the child process needs the 100 MB.
    import av

    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.time_base, codec.framerate, codec.thread_count = Fraction(1, RATE), Fraction(RATE), 2
    codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc = 1, 1, 1, 1
    codec.options = dict(SETTINGS)
    packets: list[bytes] = []
    shown, samples = None, list[bytes]()
    for number, picture in enumerate(_pictures(before, shot, is_last)):
        if picture is not shown:
            shown, samples = picture, [plane.tobytes() for plane in picture]
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, values in zip(frame.planes, samples, strict=True):
            plane.update(values)
        frame.pts = number
        packets += map(bytes, codec.encode(frame))
    return b"".join([*packets, *map(bytes, codec.encode(None))])


def join(streams: Sequence[bytes], title: str) -> bytes:
    """One MP4 of the streams, with its index before its data."""
    import av

    with tempfile.TemporaryDirectory(prefix="picasso-") as folder:
        path = Path(folder, "film.mp4")
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        source = io.BytesIO(b"".join(streams))
        with (
            av.open(source, "r", format="h264", options={"framerate": str(RATE)}) as raw,
            av.open(path, "w", format="mp4", options=options) as film,
        ):
            film.metadata["title"] = title
            stream = film.add_stream_from_template(raw.streams.video[0])
            stream.time_base = Fraction(1, RATE)
            for number, packet in enumerate(packet for packet in raw.demux(video=0) if packet.size):
                packet.stream, packet.time_base = stream, Fraction(1, RATE)
                packet.pts = packet.dts = number
                packet.duration = 1
                film.mux(packet)
        return path.read_bytes()


def poster(shot: Shot) -> bytes:
    """The middle frame of the shot as a JPEG."""
    file = io.BytesIO()
    light, *colours = _picture(_prepared(shot), shot.frames // 2)
    whole = [light, *(plane.resize(light.size, Resampling.BICUBIC) for plane in colours)]
    Image.merge("RGB", whole).convert("RGB", BACK).save(file, "JPEG", quality=86, optimize=True)
    return file.getvalue()


def _pictures(before: Shot | None, shot: Shot, is_last: bool) -> Iterator[_Planes]:
    old, new = _prepared(before) if before else None, _prepared(shot)
    black = _planes(Image.new("RGB", (WIDTH, HEIGHT)))
    for number in range(shot.frames):
        picture = _picture(new, number)
        if number < FADE:
            gone = _picture(old, old.frames + number) if old else black
            picture = _blend(gone, picture, _eased((number + 1) / (FADE + 1)))
        if is_last and number >= shot.frames - FADE:
            picture = _blend(black, picture, _eased((shot.frames - 1 - number) / FADE))
        yield picture


def _blend(one: _Planes, other: _Planes, part: float) -> _Planes:
    return _Planes(*(Image.blend(a, b, part) for a, b in zip(one, other, strict=True)))


def _picture(scene: _Set, number: int) -> _Planes:
    """The picture of a frame; the `FADE` frames after the last are blended into the next shot's beginning."""
    if scene.is_still:
        return scene.ground
    at = _eased(number / (scene.frames + FADE - 1))
    left, top, right, bottom = (a + (b - a) * at for a, b in zip(scene.begin, scene.end, strict=True))
    picture = _seen(scene.ground, (left, top, right, bottom))
    # The text fades out before the next one fades in, because overlapping lines cannot be read.
    _lay(picture, scene.words, min(1.0, number / FADE, (scene.frames - number) / (FADE / 2)))
    return picture


def _seen(ground: _Planes, box: Box) -> _Planes:
    """The part of the background in `box`, scaled to the frame."""
    left, top, right, bottom = box
    half, size = (left / 2, top / 2, right / 2, bottom / 2), (WIDTH // 2, HEIGHT // 2)
    return _Planes(
        ground.light.resize((WIDTH, HEIGHT), Resampling.BICUBIC, box),
        ground.blue.resize(size, Resampling.BILINEAR, half),
        ground.red.resize(size, Resampling.BILINEAR, half),
    )


def _lay(picture: _Planes, words: _Words | None, strength: float) -> None:
    if words is None or strength <= 0:
        return
    whole, half = (cover if strength >= 1 else cover.point(lambda value: value * strength) for cover in words.covers)
    left, top = words.place
    picture.light.paste(words.planes.light, (left, top), whole)
    for plane, colours in zip(picture[1:], words.planes[1:], strict=True):
        plane.paste(colours, (left // 2, top // 2), half)


def _eased(at: float) -> float:
    return (1 - math.cos(math.pi * at)) / 2


def _planes(picture: Image.Image) -> _Planes:
    light, blue, red = picture.convert("RGB", BT709).split()
    return _Planes(light, blue.reduce(2), red.reduce(2))


@functools.lru_cache(maxsize=2)
def _prepared(shot: Shot) -> _Set:
    ground = _ground(shot)
    begin, end = _way(ground.size, shot.move, STANDING_NEAR if ground.size == STAGE else NEAR)
    words = _words(shot.overlay) if shot.overlay else None
    if not shot.dim:
        return _Set(_planes(ground), begin, end, shot.frames, words)
    still = _planes(ground.resize((WIDTH, HEIGHT), Resampling.BICUBIC))
    _lay(still, words, 1.0)
    return _Set(still, begin, end, shot.frames, None, is_still=True)


def _words(overlay: bytes) -> _Words | None:
    image = Image.open(io.BytesIO(overlay)).convert("RGBA")
    if (box := image.getbbox()) is None:
        return None
    left, top = box[0] & ~1, box[1] & ~1
    image = image.crop((left, top, (box[2] + 1) & ~1, (box[3] + 1) & ~1))
    # Premultiplied by alpha, or the edges of letters would take on the colour of the empty space.
    small = image.convert("RGBa").reduce(2).convert("RGBA")
    (light, _, _), (_, blue, red) = (each.convert("RGB").convert("RGB", BT709).split() for each in (image, small))
    return _Words(_Planes(light, blue, red), (image.getchannel("A"), small.getchannel("A")), (left, top))


def _ground(shot: Shot) -> Image.Image:
    if shot.image is None:
        return Image.new("RGB", STAGE, INK)
    image = Image.open(io.BytesIO(shot.image)).convert("RGB")
    if shot.dim:
        return ImageEnhance.Brightness(_covering(image).filter(ImageFilter.GaussianBlur(9))).enhance(0.42)
    if FILLS[0] <= image.width / image.height <= FILLS[1]:
        return image.resize(_scaled(image.size, covers=True), Resampling.LANCZOS)
    return _standing(image)


def _standing(image: Image.Image) -> Image.Image:
    """The whole image before its own blurred enlargement."""
    behind = ImageEnhance.Brightness(_covering(image).filter(ImageFilter.GaussianBlur(28))).enhance(0.5)
    width, height = (round(side * 0.93) for side in _scaled(image.size, covers=False))
    place = ((STAGE[0] - width) // 2, (STAGE[1] - height) // 2)
    shade = Image.new("L", STAGE)
    shade.paste(150, (place[0] - 4, place[1] + 6, place[0] + width + 4, place[1] + height + 14))
    behind.paste((0, 0, 0), mask=shade.filter(ImageFilter.GaussianBlur(14)))
    behind.paste(image.resize((width, height), Resampling.LANCZOS), place)
    return behind


def _covering(image: Image.Image) -> Image.Image:
    """The middle of the image, scaled and cropped to the stage."""
    width, height = _scaled(image.size, covers=True)
    left, top = (width - STAGE[0]) // 2, (height - STAGE[1]) // 2
    return image.resize((width, height), Resampling.BICUBIC).crop((left, top, left + STAGE[0], top + STAGE[1]))


def _scaled(size: tuple[int, int], *, covers: bool) -> tuple[int, int]:
    """The size that just covers the stage, or just fits into it."""
    across, down = STAGE[0] / size[0], STAGE[1] / size[1]
    scale = max(across, down) if covers else min(across, down)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _way(size: tuple[int, int], move: int, closest: float) -> tuple[Box, Box]:
    """The camera's first and last view of a background of that size: zoom in, pan, zoom out, or pan back."""
    far = _view(size, 1.0, 0.5, 0.5)
    match move % 4:
        case 0:
            return far, _view(size, closest, 0.5, 0.42)
        case 1:
            return _view(size, closest, 0.0, 0.0), _view(size, closest, 1.0, 1.0)
        case 2:
            return _view(size, closest, 0.5, 0.58), far
        case _:
            return _view(size, closest, 1.0, 1.0), _view(size, closest, 0.0, 0.0)


def _view(size: tuple[int, int], near: float, across: float, down: float) -> Box:
    """The part of a background that fills the frame: enlarged `near` times, at a position from 0 to 1 on both axes."""
    scale = min(size[0] / WIDTH, size[1] / HEIGHT) / near
    width, height = WIDTH * scale, HEIGHT * scale
    left, top = (size[0] - width) * across, (size[1] - height) * down
    return left, top, left + width, top + height
