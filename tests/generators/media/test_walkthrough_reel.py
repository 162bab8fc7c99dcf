"""The walkthrough reel, read by a container reader of our own and decoded frame by frame."""

import io
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from PIL import Image, ImageStat

from generators.media import film, walkthrough_reel
from generators.media.walkthrough_reel import ReelOptions
from generators.shared.image_pages import Shown
from tests.support.files.mp4_and_glb import film as read_film
from tests.support.samples.page_site import add_image, row
from tests.support.samples.project_with_originals import COLOURS, made, painted, pictures_env
from tools.rows import Progression, Project

PROJECT = Project("p", "Aurora", None, None, 1, 1)
QUICK = {"seconds": 0.6, "captions": False}
CARD, SHOT = 65, 15
"""Frames of a card, and of an image in a quick film."""


def script_of(rows: list[Progression], **options: float) -> walkthrough_reel.Script:
    return walkthrough_reel.write("Autumn", [Shown(PROJECT, rows, False)], ReelOptions(**options))  # type: ignore[arg-type]


def frames_of(data: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(data), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def middle(image: Image.Image) -> list[float]:
    width, height = image.size
    return ImageStat.Stat(image.crop((width // 2 - 40, height // 2 - 40, width // 2 + 40, height // 2 + 40))).mean


async def test_a_reel_is_an_mp4_that_browsers_play(tmp_path: Path) -> None:
    """H.264 High, 4:2:0, 1280 × 720 at 25 frames a second, index first, every shot opened by a key frame, no time of
    making and nothing of the originals beside their pixels, each image seen in its turn, the poster beside it."""
    async with pictures_env(tmp_path, 3) as env:
        first = await made(env, "walkthrough-reel", QUICK)
    assert first.index.content_type == "video/mp4"
    assert first.progression_ids == ("p-0", "p-1", "p-2")
    told = read_film(first.index.data)
    assert told.order[:2] == ["ftyp", "moov"] and told.order[-1] == "mdat"
    assert (told.width, told.height, told.codec, told.profile) == (1280, 720, "avc1", 100)
    assert told.frames == 2 * CARD + 3 * SHOT and told.seconds == told.frames / 25
    assert told.key_frames == [1, *(CARD + 1 + SHOT * n for n in range(4))]
    assert told.created == {0}
    assert sum(size for _, size in told.samples) <= len(first.index.data)
    assert {size for _, size in told.samples if size == 0} == set()
    for word in (b"SECRET", b"Lavf", b"Exif"):
        assert word not in first.index.data
    with av.open(io.BytesIO(first.index.data)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.metadata["title"] == "Autumn"
    seen = frames_of(first.index.data)
    assert len(seen) == told.frames
    for number in range(3):
        found = middle(seen[CARD + SHOT * number + SHOT - 1])
        assert all(abs(a - b) < 14 for a, b in zip(found, COLOURS[number], strict=True)), (number, found)
    # Out of black, and into it.
    assert max(ImageStat.Stat(seen[0]).mean) < 12 and max(ImageStat.Stat(seen[-1]).mean) < 12
    (poster,) = first.beside
    with Image.open(io.BytesIO(poster.data)) as image:
        assert (poster.name, poster.content_type) == ("poster.jpg", "image/jpeg")
        assert (image.format, image.size) == ("JPEG", (1280, 720))


@pytest.mark.soak
async def test_an_image_that_is_gone_leaves_a_plain_picture(tmp_path: Path) -> None:
    """A project whose original is lost still gives a film, and the same bytes again; so does an empty one."""
    async with pictures_env(tmp_path, 0) as env:
        assert read_film((await made(env, "walkthrough-reel", QUICK)).index.data).frames == 2 * CARD
        await add_image(env, "p", 0)
        first, second = [await made(env, "walkthrough-reel", {"seconds": 0.6}) for _ in range(2)]
        assert first == second
        assert read_film(first.index.data).frames == 2 * CARD + SHOT


def test_a_film_of_many_images_stays_within_its_bounds() -> None:
    """Of 60 images the newest 40 are shown, in two minutes at most; the closing card states it."""
    script = script_of([row("p", n) for n in range(60)], seconds=8)
    assert [found.id for found in script.rows] == [f"p-{n}" for n in range(20, 60)]
    assert 110 < (40 * script.frames + 2 * CARD) / 25 <= 120
    closing = script.pages[-1]
    assert isinstance(closing, walkthrough_reel.Card)
    assert "The newest 40 of 60 images were shown." in closing.lines


def test_captions_say_what_and_who_and_what_the_judge_said() -> None:
    """One line of the prompt, the verdict in words, provider and model, and the place in the film."""
    rows = [row("p", 1, prompt="word " * 90, judgment="fail", ai_model="m-1"), row("p", 2)]
    _, caption, _, _ = script_of(rows, show_verdicts=True).pages
    assert isinstance(caption, walkthrough_reel.Caption)
    assert caption.prompt.endswith("…") and len(caption.prompt) <= 152
    assert (caption.verdict, caption.words, caption.maker, caption.place) == ("fail", "Fail", "sketch · m-1", "1 / 2")


@effort(max_examples=200, deadline=None)
@given(st.integers(1600, 2400), st.integers(900, 1300), st.integers(0, 7), st.floats(1.0, 2.0))
def test_the_camera_never_leaves_the_picture(width: int, height: int, move: int, near: float) -> None:
    """Begin and end of every way lie within the ground and have the shape of the frame."""
    for left, top, right, bottom in film._way((width, height), move, near):
        assert min(left, top) >= -1e-6 and right <= width + 1e-6 and bottom <= height + 1e-6
        assert abs((right - left) / (bottom - top) - 16 / 9) < 1e-6


@pytest.mark.parametrize(("move", "is_near_at"), [(0, "end"), (2, "begin")])
def test_the_camera_comes_near_and_goes_away_gently(move: int, is_near_at: str) -> None:
    """The first and last steps of a way are small, the middle ones large, and no frame jumps."""
    shot = film.Shot(painted(COLOURS[0], (960, 640)), None, 60, move)
    ready = film._prepared(shot)
    smaller = ready.end if is_near_at == "end" else ready.begin
    assert smaller[2] - smaller[0] < (ready.begin[2] - ready.begin[0]) + (ready.end[2] - ready.end[0]) - (
        smaller[2] - smaller[0]
    )
    steps = [film._eased((n + 1) / 71) - film._eased(n / 71) for n in range(71)]
    assert steps[0] < 0.002 < max(steps) < 0.03 and abs(sum(steps) - 1) < 1e-9
