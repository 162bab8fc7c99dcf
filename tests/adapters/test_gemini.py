"""The Gemini adapter against Google's answers over real sockets."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import email.utils
import io
import itertools
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import msgspec
import pytest
from PIL import Image

from adapters.gemini.images import FILL, adapter
from adapters.gemini.sizes import Shape, shapes
from adapters.provider import ImageOp, InputImage, ProviderResult
from app.bindings.ai.registry import open_ai
from app.settings import Settings
from tests.support.environment import bare_env, settings
from tests.support.files.small_images import as_input, mask, opened, painted, png
from tests.support.image_calls import call_adapter
from tests.support.internet import Answer, Fault, Received, Wire, picture
from tests.support.vendors.gemini import BAD_KEY, RATES
from tools.env import Env
from tools.errors import Failure, Invalid, Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.models.catalog import Units, image_models
from tools.rows import Kind

KEY = "a-gemini-key-for-tests-0123456789abcd"
PROMPT = "a secret lighthouse at dusk"
NANO, FLASH, PRO, LITE = (model.id for model in image_models("gemini"))
START = InputImage(painted("a red boat", 4, (120, 80)), "image/png", 120, 80)


class Told:
    """Records the reported progress."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    async def __call__(
        self, fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> None:
        self.fractions.append(fraction)


@dataclasses.dataclass
class Desk:
    """An `Env` whose vendors live on the wire."""

    env: Env
    wire: Wire

    def answers(self, fault: Fault, **how: Any) -> None:
        self.wire.scripts["gemini"].append(Answer(fault, **how))

    async def paint(self, op: ImageOp, env: Env | None = None) -> tuple[ProviderResult, Received]:
        before = len(self.wire.calls)
        result = await call_adapter(adapter, op, env or self.env, Told())
        (call,) = self.wire.calls[before:]
        return result, call

    async def fail(self, op: ImageOp, env: Env | None = None) -> VendorError:
        """The error of one call, which contains nothing confidential."""
        before = len(self.wire.calls)
        with pytest.raises(VendorError) as caught:
            await call_adapter(adapter, op, env or self.env, Told())
        assert len(self.wire.calls) == before + 1
        said = f"{caught.value} {caught.value.message} {caught.value.provider_code}"
        assert not any(word in said for word in (PROMPT, "secret", KEY, BAD_KEY, "http", "googleapis", "quota metric"))
        return caught.value

    def altered(self, **fields: Any) -> Env:
        changed = msgspec.structs.replace(cast(Settings, self.env.settings), **fields)
        return dataclasses.replace(self.env, settings=changed)


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    home: Path = tmp_path_factory.mktemp("gemini")
    async with Wire() as wire:
        chosen = settings(home, GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=f"{wire.url}/gemini", VENDOR_SECONDS="20")
        async with open_ai(chosen) as ai, bare_env(home, settings=chosen, AI=ai) as env:
            yield Desk(env, wire)


def generate(model: str | None = None, size: str | None = None) -> ImageOp:
    return ImageOp(kind="generate", prompt=PROMPT, model=model, size=size)


def sent_parts(call: Received) -> list[bytes | str]:
    """The parts of a request in their order: words as they are, pictures as bytes."""
    (content,) = call.body["contents"]
    blobs = [part["text"] if "text" in part else part["inlineData"]["data"] for part in content["parts"]]
    return [blob if "text" in part else base64.urlsafe_b64decode(blob) for part, blob in zip(
        content["parts"], blobs, strict=True)]  # fmt: skip


# Requests


@pytest.mark.parametrize("model", [None, NANO, FLASH, PRO, LITE])
async def test_a_picture_comes_as_the_vendor_sent_it(desk: Desk, model: str | None) -> None:
    """One call to the model's address with our key, and its bytes come back as they were."""
    told = Told()
    result, call = await desk.paint(generate(model))
    await call_adapter(adapter, generate(model), desk.env, told)
    assert call.path == f"/v1beta/models/{model or NANO}:generateContent"
    assert call.headers["x-goog-api-key"] == KEY and KEY not in call.path
    assert (result.data, result.mime, result.request_id) == (call.sent, "image/png", call.id)
    assert result.adjustments == [] and told.fractions == [0.1]
    assert result.provider_meta == {"modelVersion": model or NANO}


async def test_the_request_asks_for_one_picture_and_nothing_that_is_billed_twice(desk: Desk) -> None:
    """Words and a picture, the shape in the vendor's words, a cap on what may be put out, and no seed."""
    _, call = await desk.paint(generate(PRO, "2528x1696"))
    config = call.body["generationConfig"]
    assert config.pop("maxOutputTokens") >= 2000
    assert config == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "3:2", "imageSize": "2K"},
    }
    assert sent_parts(call) == [PROMPT] and set(call.body) == {"contents", "generationConfig"}


@pytest.mark.parametrize("kind", ["edit", "variation"])
async def test_words_start_and_references_go_in_this_order(desk: Desk, kind: Kind) -> None:
    """The prompt first, then the start image, then the references, byte for byte, each by its true type."""
    references = tuple(InputImage(picture(seed), "image/x", 64, 64) for seed in (1, 2))
    result, call = await desk.paint(ImageOp(kind=kind, prompt=PROMPT, start_image=START, references=references))
    assert sent_parts(call) == [PROMPT, START.data, picture(1), picture(2)]
    (content,) = call.body["contents"]
    mimes = [(part["inlineData"].get("mimeType") or part["inlineData"]["mime_type"]) for part in content["parts"][1:]]
    assert mimes == ["image/png"] * 3
    assert call.body["generationConfig"]["imageConfig"] == {"aspectRatio": "3:2", "imageSize": "1K"}
    assert result.data == call.sent
    assert any(note.startswith("variation is emulated") for note in result.adjustments) == (kind == "variation")
    assert "the result of a start image of 120x80 is 1264x848" in result.adjustments


@pytest.mark.parametrize("size", [None, "200x100", "60x60"])
async def test_an_outpainting_shows_the_start_image_within_a_larger_canvas(desk: Desk, size: str | None) -> None:
    """The canvas has the requested proportions, contains the whole start image, and is empty around it."""
    result, call = await desk.paint(ImageOp(kind="outpaint", prompt=PROMPT, start_image=START, size=size))
    words, canvas = sent_parts(call)
    image = opened(cast(bytes, canvas)).convert("RGBA")
    x, y = (image.width - START.width) // 2, (image.height - START.height) // 2
    assert words == f"{PROMPT}\n\n{FILL}"
    assert min(x, y) >= 0 and max(x, y) > 0
    assert png(image.crop((x, y, x + 120, y + 80)).convert("RGB")) == png(opened(START.data).convert("RGB"))
    assert image.getchannel("A").histogram()[255] == 120 * 80
    ratio = call.body["generationConfig"]["imageConfig"]["aspectRatio"]
    shape = next(shape for shape in shapes(FLASH) if shape.ratio == ratio)
    assert image.width / image.height == pytest.approx(shape.width / shape.height, rel=0.02)
    assert ratio == ("16:9" if size == "200x100" else "3:2")
    assert any(note.startswith("outpaint is emulated") for note in result.adjustments)


async def test_a_large_start_image_is_scaled_to_the_canvas_it_can_have(desk: Desk) -> None:
    """An outpainting is never sent larger than the picture that will come back."""
    start = as_input(png(Image.new("RGB", (1500, 1000), "teal")))
    _, call = await desk.paint(ImageOp(kind="outpaint", prompt="x", model=LITE, start_image=start))
    canvas = opened(cast(bytes, sent_parts(call)[1]))
    assert canvas.size == (1264, 848)
    box = canvas.getchannel("A").getbbox()
    assert box is not None and 830 <= box[2] - box[0] <= 850 and box[0] == pytest.approx(canvas.width - box[2], abs=2)


async def test_a_picture_that_is_too_heavy_is_reduced_and_that_is_said(desk: Desk) -> None:
    """20 MB is the most a request may have: heavy pictures are reduced, light ones stay as they are."""
    noise = Image.effect_noise((2600, 1600), 120)
    heavy = as_input(png(Image.merge("RGB", (noise, noise.transpose(Image.Transpose.ROTATE_180), noise.rotate(7)))))
    assert len(heavy.data) > 7_000_000
    op = ImageOp(kind="edit", prompt=PROMPT, start_image=heavy, references=(START,), size="1024x1024")
    result, call = await desk.paint(op)
    _, start, reference = sent_parts(call)
    assert reference == START.data and len(call.raw) < 20_000_000
    assert max(opened(cast(bytes, start)).size) == 1527 and len(start) < 7_000_000
    assert "1 of the pictures sent were reduced to 1527 pixels, for their weight" in result.adjustments


async def test_the_lite_model_is_not_told_an_image_size(desk: Desk) -> None:
    """It has one size and refuses the parameter."""
    result, call = await desk.paint(generate(LITE, "4096x4096"))
    assert call.body["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1"}
    assert result.adjustments == ["size 4096x4096 became 1024x1024, the nearest that this model makes"]


def test_the_catalog_holds_the_shapes_google_publishes() -> None:
    """Ratio and image size of each listed size, checked against the published table by a few of its rows."""
    known = {shape.text: (shape.ratio, shape.image_size) for shape in shapes(FLASH)}
    assert known["1024x1024"] == ("1:1", "1K") and known["5504x3072"] == ("16:9", "4K")
    assert known["1696x2528"] == ("2:3", "2K") and known["1856x2304"] == ("4:5", "2K")
    assert known["6336x2688"] == ("21:9", "4K") and known["6144x768"] == ("8:1", "2K")
    assert known["896x1200"] == ("3:4", "1K") and "12288x1536" not in known
    for model in (NANO, FLASH, PRO, LITE):
        words = [(shape.ratio, shape.image_size) for shape in shapes(model)]
        assert len(words) == len(set(words)) and words[0] == ("1:1", "1K")
        for ratio, some in itertools.groupby(sorted(shapes(model), key=lambda s: s.ratio), key=lambda s: s.ratio):
            assert len({Shape(s.width * 4 // int(s.image_size[0]), 0, ratio, "") for s in some}) == 1
    assert {shape.image_size for shape in shapes(LITE)} == {"1K"}


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("1024x1024", "1024x1024"),
        ("2048x2048", "2048x2048"),
        ("1536x1024", "1264x848"),
        ("1024x1536", "848x1264"),
        ("1920x1080", "2752x1536"),
        ("3840x2160", "5504x3072"),
        ("64x64", "1024x1024"),
        ("9000x9000", "4096x4096"),
        ("2000x100", "3072x384"),
        ("1376x768", "1376x768"),
    ],
)
def test_a_size_becomes_the_nearest_that_can_be_had(asked: str, given: str) -> None:
    """Proportions first, then 60 % of the pixels at least; a size that differs from the request is reported."""
    said = adapter.adjustments(generate(FLASH, asked))
    assert said == ([] if asked == given else [f"size {asked} became {given}, the nearest that this model makes"])


def test_what_is_dropped_is_said() -> None:
    """Seed, quality, masks and pictures that are not used are named; a negative prompt is in the words already."""
    many = tuple(START for _ in range(14))
    op = ImageOp(
        kind="generate", prompt=PROMPT, start_image=START, references=many, mask=START, quality="high", seed=7,
        negative_prompt="fog",
    )  # fmt: skip
    assert [note.partition(":")[0] for note in adapter.adjustments(op)] == [
        "the seed is dropped",
        "quality is dropped",
        "the mask is not used by generate",
        "the start image is not used by generate",
        "of the reference images only the first 13 are used",
    ]


async def test_no_more_references_are_sent_than_the_model_takes(desk: Desk) -> None:
    """Fourteen pictures is the most; more would be refused."""
    references = tuple(InputImage(picture(seed), "image/png", 64, 64) for seed in range(15))
    _, call = await desk.paint(ImageOp(kind="edit", prompt=PROMPT, start_image=START, references=references))
    assert sent_parts(call)[1:] == [START.data, *(picture(seed) for seed in range(13))]


def test_each_model_offers_what_it_can_do() -> None:
    """Masked work is taken on by the model that follows masks, enlarging by none; the models are the catalog's."""
    for model in (None, NANO, FLASH, PRO, LITE):
        able = [kind for kind in ("generate", "edit", "variation", "outpaint") if adapter.supports(kind, model)]
        assert able == ["generate", "edit", "variation", "outpaint"]
        assert adapter.supports("inpaint", model) == (model in (None, NANO)) and not adapter.supports("upscale", model)
    assert not adapter.supports("generate", "gemini-2.5-flash-image")
    assert adapter.capabilities()[0].model == NANO and len(adapter.capabilities()) == 17
    notes = {capability.kind: bool(capability.notes) for capability in adapter.capabilities()}
    assert notes == {"generate": False, "edit": False, "variation": True, "outpaint": True, "inpaint": True}


async def test_a_mask_is_a_second_picture(desk: Desk) -> None:
    """White where the image is to change and black elsewhere, at the start image's size, with words that say so."""
    marked = as_input(mask((60, 40), (10, 10, 30, 30), "white"))
    references = tuple(InputImage(picture(seed), "image/png", 64, 64) for seed in range(14))
    op = ImageOp(kind="inpaint", prompt=PROMPT, start_image=START, mask=marked, references=references)
    result, call = await desk.paint(op)
    words, start, sent, *others = sent_parts(call)
    assert isinstance(words, str) and words.startswith(PROMPT) and "mask is white" in words
    assert start == START.data and others == [picture(seed) for seed in range(12)]
    shown = opened(cast(bytes, sent)).convert("L")
    assert shown.size == (120, 80) and (shown.getpixel((30, 30)), shown.getpixel((100, 70))) == (255, 0)
    assert "the mask was scaled to the size of the start image" in result.adjustments
    assert any("as a second picture" in note for note in result.adjustments)


@pytest.mark.parametrize(("lacks", "code"), [("start_image", "start_image_missing"), ("mask", "mask_missing")])
async def test_masked_work_without_its_pictures_is_never_sent(desk: Desk, lacks: str, code: str) -> None:
    """It ends before the call."""
    images = {"start_image": START, "mask": as_input(mask((120, 80), (10, 10, 30, 30), "white"))}
    op = ImageOp(kind="inpaint", prompt=PROMPT, **{**images, lacks: None})  # type: ignore[arg-type]
    with pytest.raises(Invalid) as refused:
        await adapter.prepare(op, desk.env)
    assert refused.value.code == code


async def test_it_goes_out_by_our_own_http_client(desk: Desk) -> None:
    """Timeouts, limits and proxies of the SDK play no part: the request passes through `env.AI.http`, once."""
    passed: list[str] = []

    async def note(request: httpx.Request) -> None:
        passed.append(f"{request.method} {request.url.path} {request.extensions['timeout']['read']}")

    http = desk.env.AI.http
    http.event_hooks = {"request": [note]}
    try:
        await desk.paint(generate())
    finally:
        http.event_hooks = {"request": []}
    assert passed == [f"POST /gemini/v1beta/models/{NANO}:generateContent 19.8"]


# What comes back


async def test_drafts_are_not_the_picture(desk: Desk) -> None:
    """Pictures of the model's thoughts are passed over."""
    desk.answers("ok", text="draft")
    result, call = await desk.paint(generate())
    assert result.data == call.sent and result.adjustments == []


async def test_of_several_pictures_the_last_is_kept_and_that_is_said(desk: Desk) -> None:
    """Gemini may send more than one; all are on the bill."""
    desk.answers("ok", text="several")
    result, call = await desk.paint(generate())
    assert result.data == call.sent
    assert result.adjustments == ["of 2 pictures that came, the last is kept"]
    assert cost(NANO, result.units) == pytest.approx(call.bill)
    low, high = adapter.meter(generate())
    assert cost(NANO, low) <= call.bill <= cost(NANO, high)


@pytest.mark.parametrize("text", ["words", "NO_IMAGE", "nothing"])
async def test_an_answer_without_a_picture_costs_what_it_says(desk: Desk, text: str) -> None:
    """Its usage tells words and no picture, and that is the bill, not the highest quote."""
    desk.answers("empty", text=text)
    error = await desk.fail(generate())
    assert cost(NANO, cast(Units, error.units)) == pytest.approx(desk.wire.calls[-1].bill)
    _, high = adapter.meter(generate())
    assert 0 < cost(NANO, cast(Units, error.units)) < cost(NANO, high) / 5


async def test_a_spent_account_is_a_quota(desk: Desk) -> None:
    """402 is no fault of the request: another provider may step in."""
    error = await answered(desk, 402, b'{"error": {"code": 402, "status": "FAILED_PRECONDITION", "message": "pay"}}')
    assert (type(error), error.failure, error.provider_status) == (VendorFailed, "quota", 402)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_the_media_type_is_read_from_the_bytes(desk: Desk, form: str) -> None:
    """The result's type follows from the bytes, whatever type the answer declares."""
    file = io.BytesIO()
    opened(picture(5)).convert("RGB").save(file, form)
    desk.answers("ok", image=file.getvalue())
    result, _ = await desk.paint(generate())
    assert (result.data, result.mime) == (file.getvalue(), f"image/{form.lower()}")


def cost(model: str, units: Units) -> float:
    """USD by Google's list."""
    kinds = {"text_input": "input", "image_input": "input", "text_output": "text", "image_output": "image"}
    return sum(RATES[model][kinds[unit]] * count for unit, count in units.items()) / 1e6


@pytest.mark.parametrize("size", ["1024x1024", "2048x2048", "4096x4096", "5504x3072", None])
@pytest.mark.parametrize("model", [NANO, FLASH, PRO, LITE])
@pytest.mark.parametrize("kind", ["generate", "edit", "outpaint"])
async def test_the_bill_is_told_and_was_foreseen(desk: Desk, kind: Kind, model: str, size: str | None) -> None:
    """The units of an answer are what is billed, and lie within what was metered before, with the images or without."""
    bare = ImageOp(kind=kind, prompt=PROMPT, model=model, size=size)
    whole = msgspec.structs.replace(bare, start_image=START, references=(START,)) if kind != "generate" else bare
    result, call = await desk.paint(whole)
    assert cost(model, result.units) == pytest.approx(call.bill, abs=1e-9)
    assert result.usage["candidatesTokenCount"] == result.units["image_output"] + 103
    for op in (bare, whole):
        low, high = adapter.meter(op)
        assert cost(model, low) <= call.bill <= cost(model, high), op


async def test_references_that_are_not_known_yet_are_metered(desk: Desk) -> None:
    """A quote made before the images are read is enough for the largest request."""
    references = tuple(START for _ in range(13))
    for kind in ("generate", "edit"):
        start = None if kind == "generate" else START
        _, call = await desk.paint(ImageOp(kind=kind, prompt=PROMPT, start_image=start, references=references))
        _, high = adapter.meter(ImageOp(kind=kind, prompt=PROMPT))
        assert call.bill <= cost(NANO, high)
        assert high["image_input"] >= 258 * (13 + (kind == "edit"))


async def test_an_answer_that_does_not_tell_its_bill_has_no_units(desk: Desk) -> None:
    """Without the picture's own count nothing is made up; the quote stands."""
    desk.answers("ok", text="untold")
    result, _ = await desk.paint(generate())
    assert result.units == {} and result.usage["promptTokenCount"] > 0


# Failures


PROMPT_BLOCKS = ("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "A_REASON_OF_TOMORROW")
OUTPUT_BLOCKS = (
    "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
)  # fmt: skip
EMPTY = ("NO_IMAGE", "IMAGE_OTHER", "MAX_TOKENS", "OTHER", "CONTINUATION", "A_REASON_OF_TOMORROW")


@pytest.mark.parametrize("reason", [*(f"prompt:{reason}" for reason in PROMPT_BLOCKS), *OUTPUT_BLOCKS])
async def test_a_block_is_the_vendors_no(desk: Desk, reason: str) -> None:
    """Each of the blocks that come as HTTP 200 is Refused, by its own name."""
    desk.answers("refuse", text=reason)
    error = await desk.fail(generate())
    assert isinstance(error, Refused) and error.failure == "refused"
    assert (error.provider_code, error.provider_status) == (reason.removeprefix("prompt:"), 200)
    assert error.request_id == desk.wire.calls[-1].id


@pytest.mark.parametrize("reason", [*EMPTY, "words", "nothing"])
async def test_an_answer_without_a_picture_is_empty(desk: Desk, reason: str) -> None:
    """NO_IMAGE, words alone or nothing at all: not a no, and no picture."""
    desk.answers("empty", text=reason)
    error = await desk.fail(generate())
    assert isinstance(error, VendorFailed) and error.failure == "empty"
    assert error.provider_code == {"words": "STOP", "nothing": None}.get(reason, reason)
    assert (error.provider_status, error.request_id) == (200, desk.wire.calls[-1].id)


@pytest.mark.parametrize(
    ("fault", "kind", "failure"),
    [
        ("drop", Uncertain, "outage"),
        ("drop_after", Uncertain, "outage"),
        ("truncate", Uncertain, "outage"),
        ("quota", VendorFailed, "quota"),
        ("rate", Unavailable, "rate"),
        ("error", Unavailable, "outage"),
    ],
)
async def test_each_fault_ends_as_what_it_is(
    desk: Desk, fault: Fault, kind: type[VendorError], failure: Failure
) -> None:
    """One call, and one honest word for how it ended."""
    desk.answers(fault)
    error = await desk.fail(ImageOp(kind="edit", prompt=PROMPT, start_image=START))
    assert type(error) is kind and error.failure == failure
    # Also of an answer that broke off its head is known.
    assert (error.request_id == desk.wire.calls[-1].id) == (fault != "drop")
    assert (error.provider_status is not None) == (not isinstance(error, Uncertain))


async def test_a_slow_answer_is_waited_for(desk: Desk) -> None:
    """Slow is not failed."""
    desk.answers("ok", delay=0.3)
    result, call = await desk.paint(generate())
    assert result.data == call.sent


async def test_past_the_deadline_nobody_knows(desk: Desk) -> None:
    """A vendor that hangs leaves the outcome uncertain, and is not called again."""
    desk.answers("hang")
    error = await desk.fail(generate(), desk.altered(vendor_seconds=0.4))
    assert isinstance(error, Uncertain) and error.code == "deadline"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return cast(int, listener.getsockname()[1])


async def test_a_connection_that_was_never_made_did_nothing(desk: Desk, tmp_path: Path) -> None:
    """When nothing listens, the call is safe to try again."""
    nowhere = settings(tmp_path, GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=f"http://127.0.0.1:{free_port()}")
    async with open_ai(nowhere) as ai:
        with pytest.raises(Unavailable) as caught:
            await call_adapter(adapter, generate(), dataclasses.replace(desk.env, AI=ai), Told())
    assert caught.value.failure == "outage" and "127.0.0.1" not in caught.value.message


def http_date(seconds: float) -> str:
    return email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds), True)


@pytest.mark.parametrize(
    ("header", "delay", "seconds"),
    [
        (None, None, None),
        ("7", None, 7.0),
        ("date", None, 60.0),
        ("soon", None, None),
        (None, "34s", 34.0),
        (None, "34.074824224s", 34.07),
        (None, "a while", None),
        ("7", "34s", 34.0),
        ("50", "34s", 50.0),
    ],
)
async def test_the_wait_that_is_asked_for_is_passed_on(
    desk: Desk, header: str | None, delay: str | None, seconds: float | None
) -> None:
    """Retry-After in each form and Google's RetryInfo; of both, the longer."""
    desk.answers("rate", text=delay, retry_after=http_date(60) if header == "date" else header)
    error = await desk.fail(generate())
    assert isinstance(error, Unavailable) and error.provider_code == "RESOURCE_EXHAUSTED"
    assert error.retry_after == (
        None if seconds is None else pytest.approx(seconds, abs=2 if header == "date" else 0.1)
    )


@pytest.mark.parametrize("status", [500, 503, 529])
async def test_an_answered_5xx_did_nothing(desk: Desk, status: int) -> None:
    """The vendor reported a failure: an outage, to be tried again."""
    desk.answers("error", status=status, retry_after="3")
    error = await desk.fail(generate())
    assert isinstance(error, Unavailable)
    assert (error.failure, error.provider_status, error.retry_after) == ("outage", status, 3.0)


async def test_a_key_that_is_not_accepted_is_said_to_be_so(desk: Desk, tmp_path: Path) -> None:
    """Google answers 400 for a bad key; the reason distinguishes it."""
    base = desk.env.AI.keys["GOOGLE_GEMINI_BASE_URL"]
    async with open_ai(settings(tmp_path, GEMINI_API_KEY=BAD_KEY, GOOGLE_GEMINI_BASE_URL=base)) as ai:
        error = await desk.fail(generate(), dataclasses.replace(desk.env, AI=ai))
    assert error.failure == "invalid" and isinstance(error, VendorFailed)
    assert (error.provider_code, error.provider_status) == ("API_KEY_INVALID", 400)
    assert error.message == "Gemini did not accept our key"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_forbidden_key_is_said_to_be_so(desk: Desk, status: int) -> None:
    """401 and 403 are errors of the key."""
    desk.answers("error", status=status)
    error = await desk.fail(generate())
    assert isinstance(error, VendorFailed) and error.message == "Gemini did not accept our key"
    assert (error.failure, error.provider_status) == ("invalid", status)


@pytest.mark.parametrize("status", [302, 400, 404, 413])
async def test_a_request_that_is_not_accepted_is_ours_to_mend(desk: Desk, status: int) -> None:
    """Other 4xx answers mean that the request is wrong; a redirect is not followed."""
    desk.answers("error", status=status)
    error = await desk.fail(generate())
    assert isinstance(error, VendorFailed) and (error.failure, error.provider_status) == ("invalid", status)


@contextlib.asynccontextmanager
async def served(desk: Desk, status: int, body: bytes) -> AsyncIterator[Env]:
    """An `Env` whose Gemini gives this one answer, once."""
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        home = cast(Settings, desk.env.settings).home
        async with open_ai(settings(home, GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=url)) as ai:
            yield dataclasses.replace(desk.env, AI=ai)
    assert calls == 1


async def answered(desk: Desk, status: int, body: bytes) -> VendorError:
    """What a call ends in that is answered so."""
    async with served(desk, status, body) as env:
        with pytest.raises(VendorError) as caught:
            await call_adapter(adapter, generate(), env, Told())
    return caught.value


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b'{"error": {"code": 429, "message": "Your prepayment credits are depleted.", "status": "X Y"}}', "quota"),
        (b'{"error": {"message": "slow down", "details": [{"reason": "MODEL_CAPACITY_EXHAUSTED"}]}}', "rate"),
        (b'[{"error": {"code": 429, "message": "slow down"}}]', "rate"),
        (b'{"error": "slow down"}', "rate"),
        (b"slow down", "rate"),
        (b"[]", "rate"),
        (b"", "rate"),
    ],
)  # fmt: skip
async def test_other_words_for_not_now(desk: Desk, body: bytes, failure: Failure) -> None:
    """A 429 is a rate limit unless it states that the money or the day's quota is used up, whatever its body looks
    like."""
    error = await answered(desk, 429, body)
    assert error.failure == failure and isinstance(error, VendorFailed if failure == "quota" else Unavailable)
    assert error.provider_code in (None, "MODEL_CAPACITY_EXHAUSTED")


async def test_an_error_page_in_no_known_alphabet_is_in_doubt(desk: Desk) -> None:
    """A gateway's page in Latin-1, of which not even the status is known, says nothing of what was bought."""
    error = await answered(desk, 502, "<p>Défaut</p>".encode("latin-1"))
    assert isinstance(error, Uncertain) and error.failure == "outage"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"candidates": 7}',
    ],
)
async def test_a_200_that_is_no_answer_of_gemini_is_invalid(desk: Desk, body: bytes) -> None:
    """Whatever a 200 contains instead of an answer, the call ends with one known error."""
    error = await answered(desk, 200, body)
    assert error.failure == "invalid" and isinstance(error, VendorFailed)


async def test_a_strange_usage_does_not_cost_the_picture(desk: Desk) -> None:
    """A bill that cannot be read leaves the picture whole, and base64 may come in its other alphabet."""
    data = base64.urlsafe_b64encode(picture(9)).decode()
    answer = {
        "candidates": [{"content": {"parts": [{"inlineData": {"data": data}}]}, "finishReason": "NEW"}, {}],
    }
    for usage in ({"promptTokenCount": "many", "candidatesTokensDetails": None}, "much", [1], None):
        async with served(desk, 200, msgspec.json.encode({**answer, "usageMetadata": usage})) as env:
            result = await call_adapter(adapter, generate(), env, Told())
        assert (result.data, result.units, result.request_id) == (picture(9), {}, None)


@pytest.mark.parametrize(
    ("said", "error", "failure"),
    [
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, VendorFailed, "empty"),
        ({"code": 503, "status": "UNAVAILABLE"}, VendorFailed, "empty"),
        ({"code": 504, "status": "DEADLINE_EXCEEDED"}, Uncertain, "outage"),
        ({"code": 403, "status": "PERMISSION_DENIED"}, VendorFailed, "invalid"),
        ("no", VendorFailed, "invalid"),
    ],
)
async def test_an_error_that_comes_as_200_is_that_error(
    desk: Desk, said: Any, error: type[VendorError], failure: Failure
) -> None:
    """A proxy between us and Google may answer 200 with an error in it: it may have bought, so nothing is repeated."""
    for body in ({"error": said}, [{"error": said}]):
        ended = await answered(desk, 200, msgspec.json.encode(body))
        assert (type(ended), ended.failure, ended.provider_status) == (error, failure, 200)
