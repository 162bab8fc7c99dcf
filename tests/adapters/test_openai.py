"""OpenAI's adapter against the false Internet: requests, answers and failures."""

import contextlib
import dataclasses
import datetime
import email.utils
import json
import logging
import math
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.images import adapter
from adapters.openai.request import nearest, plan
from adapters.provider import ImageOp, InputImage, ProviderResult
from app.bindings.ai.registry import open_ai
from tests.support.environment import settings
from tests.support.files.images import encoded, textured
from tests.support.files.small_images import as_input, mask, opened, plain
from tests.support.image_calls import call_adapter, call_provider
from tests.support.internet import Answer, Fault, Received, Reply, Vendor, Wire, picture
from tests.support.vendors import openai as played
from tests.support.vendors.openai import coded
from tools.env import Env
from tools.errors import Invalid, Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.models import prices
from tools.models.catalog import image_models
from tools.rows import Kind

KEY = "sk-a-key-that-nobody-may-see"
PROMPT = "a lighthouse that nobody may read of"
MODELS = image_models("openai")
KINDS: tuple[Kind, ...] = ("generate", "edit", "inpaint", "outpaint", "variation")
START = as_input(encoded(textured(300, 200), "PNG"))
MASK = as_input(mask((300, 200), (50, 40, 200, 160), "white"))
OTHER = as_input(plain((10, 200, 30)))


class Told:
    """Records the progress that an adapter reports."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.previews: list[bytes] = []

    async def __call__(self, fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None:
        self.fractions.append(fraction)
        self.previews += [preview_bytes] if preview_bytes else []


@contextlib.asynccontextmanager
async def shop(home: Path, url: str, **environ: str) -> AsyncIterator[Env]:
    """An `Env` whose AI has a key and looks for OpenAI at `url`."""
    named = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/openai/v1", **environ}
    chosen = settings(home, **named)
    async with open_ai(chosen) as ai:
        nothing = dict.fromkeys((field.name for field in dataclasses.fields(Env)), cast(Any, None))
        yield Env(**{**nothing, "AI": ai, "settings": chosen})


def asked(kind: Kind = "generate", **fields: Any) -> ImageOp:
    """An op with everything that its kind needs."""
    images = {} if kind == "generate" else {"start_image": START}
    masks = {"mask": MASK} if kind == "inpaint" else {}
    return ImageOp(**{"kind": kind, "prompt": PROMPT, **images, **masks, **fields})


async def bought(
    home: Path, op: ImageOp, *answers: Answer, vendor: Vendor | None = None
) -> tuple[ProviderResult, Received, Told]:
    """The result of one run, the one call that it made, and the progress that it reported."""
    told = Told()
    async with Wire(_vendors={"openai": vendor or played.vendor}) as wire, shop(home, wire.url) as env:
        wire.scripts["openai"].extend(answers)
        result = await call_adapter(adapter, op, env, told)
    (call,) = wire.calls
    return result, call, told


async def failed(home: Path, *answers: Answer, vendor: Vendor | None = None, **environ: str) -> VendorError:
    """The error of one run through the router; it made one call, and the error contains nothing confidential."""
    async with Wire(_vendors={"openai": vendor or played.vendor}) as wire, shop(home, wire.url, **environ) as env:
        wire.scripts["openai"].extend(answers)
        with pytest.raises(VendorError) as ended:
            await call_provider("openai", asked(), env, Told())
    (call,) = wire.calls
    error = ended.value
    assert not any(secret in f"{error.message} {error.provider_code}" for secret in (KEY, PROMPT, "said by the vendor"))
    assert error.request_id in (call.id, None)
    return error


def files(call: Received, name: str) -> list[bytes]:
    return [part.data for part in call.parts if part.name == name and part.filename]


async def test_a_picture_is_made_from_words(tmp_path: Path) -> None:
    """One JSON call with exactly what was requested; the bytes come back as the vendor sent them, with its previews."""
    op = asked(size="1536x1024", quality="high")
    result, call, told = await bought(tmp_path, op)
    assert (call.method, call.path, call.headers["authorization"]) == ("POST", "/images/generations", f"Bearer {KEY}")
    assert call.body == {
        "model": "gpt-image-2",
        "prompt": PROMPT,
        "size": "1536x1024",
        "quality": "high",
        "output_format": "png",
        "partial_images": 2,
        "stream": True,
    }
    assert result.data == call.sent and result.mime == "image/png"
    assert (result.request_id, result.adjustments) == (call.id, [])
    assert told.previews == [picture(0, 16), picture(1, 16)]
    assert told.fractions == sorted(told.fractions) and 0 < told.fractions[0] < told.fractions[-1] < 1


async def test_the_vendors_count_is_the_bill(tmp_path: Path) -> None:
    """Tokens are reported by kind, as in the answer, and the answer's own revised prompt is kept."""
    result, call, _ = await bought(tmp_path, asked("edit", quality="low", references=(OTHER,), size="1024x1024"))
    assert result.usage["input_tokens_details"] == {
        "text_tokens": result.units["text_input"],
        "image_tokens": result.units["image_input"],
    }
    assert result.units["image_output"] == 196 + 2 * 100 and result.units["image_input"] == 10 * 7 + 3 * 3
    assert call.bill == pytest.approx(played.billed("gpt-image-2", result.usage))


async def test_thinking_is_counted_apart(tmp_path: Path) -> None:
    """A model that bills words in its output has them under their own rate."""
    op = asked(model="gpt-image-1.5", quality="low", size="1024x1024")
    result, _, _ = await bought(tmp_path, op, vendor=played.OpenAI(partials=0))
    assert (result.units["image_output"], result.units["text_output"]) == (272, 40)


async def test_an_edit_sends_its_pictures_as_they_are(tmp_path: Path) -> None:
    """The start image first, the references after it, byte for byte, and no mask."""
    photo = InputImage(encoded(textured(300, 200), "JPEG"), "image/jpeg", 300, 200)
    _, call, _ = await bought(tmp_path, asked("edit", start_image=photo, references=(OTHER, START)))
    assert call.path == "/images/edits"
    assert files(call, "image[]") == [photo.data, OTHER.data, START.data] and not files(call, "mask")
    assert [part.mime for part in call.parts if part.filename] == ["image/jpeg", "image/png", "image/png"]
    assert "input_fidelity" not in call.body and call.body["stream"] == "true"


async def test_words_with_references_go_to_the_edit_endpoint(tmp_path: Path) -> None:
    """`generate` with reference images uses them."""
    result, call, _ = await bought(tmp_path, asked(references=(OTHER,)))
    assert call.path == "/images/edits" and files(call, "image[]") == [OTHER.data] and result.data == call.sent


@pytest.mark.parametrize("way", ["transparent", "white"])
async def test_a_mask_is_sent_in_the_vendors_words(tmp_path: Path, way: Any) -> None:
    """In whichever form the caller sent the mask, alpha 0 means "change here", at the picture's size; the conversion is
    reported."""
    small = as_input(mask((150, 100), (10, 20, 60, 70), way))
    result, call, _ = await bought(tmp_path, asked("inpaint", mask=small))
    (start,), (said,) = files(call, "image[]"), files(call, "mask")
    assert opened(start).size == opened(said).size == (300, 200)
    alpha = opened(said).getchannel("A")
    assert alpha.getpixel((60, 80)) == 0 and alpha.getpixel((280, 180)) == alpha.getpixel((71, 91)) == 255
    assert "the mask was scaled to the size of the start image" in result.adjustments


async def test_a_picture_grows_by_a_masked_canvas(tmp_path: Path) -> None:
    """Outpainting sends the picture on the requested canvas, with only the new part opened."""
    _, call, _ = await bought(tmp_path, asked("outpaint", size="1024x1024"))
    (canvas,), (said,) = files(call, "image[]"), files(call, "mask")
    box = (362, 412, 662, 612)
    assert opened(canvas).size == opened(said).size == (1024, 1024) and call.body["size"] == "1024x1024"
    assert opened(said).getchannel("A").getbbox() == opened(canvas).getchannel("A").getbbox() == box
    assert opened(canvas).crop(box).convert("RGB").tobytes() == textured(300, 200).tobytes()


@pytest.mark.parametrize(("size", "shape"), [("1536x1024", (1500, 1000)), (None, (1500, 1000)), (None, (200, 300))])
async def test_outpainting_always_leaves_something_to_paint(
    tmp_path: Path, size: str | None, shape: tuple[int, int]
) -> None:
    """A picture as large as its canvas is made smaller on it, and that is reported."""
    start = as_input(encoded(textured(30, 20).resize(shape), "PNG"))
    result, call, _ = await bought(tmp_path, asked("outpaint", size=size, start_image=start))
    alpha = opened(files(call, "mask")[0]).getchannel("A")
    old = alpha.histogram()[255] / (alpha.width * alpha.height)
    assert 0.05 < old < 0.5
    assert any("on its canvas" in note for note in result.adjustments) == (max(shape) > 1000)


async def test_a_variation_says_that_it_is_an_edit(tmp_path: Path) -> None:
    """What the vendor no longer offers is made as an edit, and reported as one."""
    result, call, _ = await bought(tmp_path, asked("variation"))
    assert call.path == "/images/edits" and any("variation" in note for note in result.adjustments)


@pytest.mark.parametrize("model", [model.id for model in MODELS])
async def test_what_is_asked_of_a_model_is_what_it_takes(tmp_path: Path, model: str) -> None:
    """For every model and kind, awkward ops become requests that the vendor accepts, and every change is announced."""
    awkward: tuple[dict[str, Any], ...] = (
        {"seed": 7, "negative_prompt": "rain", "size": "999x500", "quality": "max", "references": (OTHER,)},
        {"size": "64x6400", "quality": "finest"},
        {},
    )
    async with Wire() as wire, shop(tmp_path, wire.url) as env:
        for op in (asked(kind, model=model, **fields) for kind in KINDS for fields in awkward):
            announced = adapter.adjustments(op)
            result = await call_adapter(adapter, op, env, Told())
            call = wire.calls[-1]
            assert result.data == call.sent and result.adjustments == announced
            assert (op.size in (None, call.body["size"])) == (f"size {op.size} became" not in " ".join(announced))
            assert (op.quality in (None, call.body["quality"])) == ("quality" not in " ".join(announced))
    assert len(wire.calls) == len(awkward) * len(KINDS)


async def test_a_photograph_in_foreign_colours_is_made_plain(tmp_path: Path) -> None:
    """An image that the vendor cannot read, or that is too large for it, is re-encoded before it is sent."""
    press = InputImage(encoded(textured(300, 200, "CMYK"), "JPEG"), "image/jpeg", 300, 200)
    wide = as_input(encoded(textured(36, 3).resize((3600, 300)), "PNG"))
    result, call, _ = await bought(tmp_path, asked("edit", start_image=wide, references=(press,)))
    assert [opened(data).size for data in files(call, "image[]")] == [(3456, 288), (300, 200)]
    assert "the start image was sent 3456 pixels long" in result.adjustments


async def test_what_the_answer_says_about_itself_is_told(tmp_path: Path) -> None:
    """A picture of another size or quality than requested is an adjustment, known only afterwards."""
    liar = played.OpenAI(says={"size": "1024x1536", "quality": "low"})
    result, _, _ = await bought(tmp_path, asked(size="1024x1024", quality="high"), vendor=liar)
    assert result.adjustments == [
        "OpenAI made 1024x1536 where 1024x1024 was asked for",
        "OpenAI used quality low where high was asked for",
    ]


@pytest.mark.parametrize("vendor", [played.OpenAI(streams=False), played.OpenAI(partials=1), played.OpenAI(partials=0)])
async def test_a_server_that_shows_less_is_as_good(tmp_path: Path, vendor: played.OpenAI) -> None:
    """Fewer previews than requested, or one JSON answer instead of a stream: the picture is what counts."""
    result, call, told = await bought(tmp_path, asked(), vendor=vendor)
    assert result.data == call.sent and result.units["image_output"] > 0 and result.request_id == call.id
    assert len(told.previews) == (vendor.partials if vendor.streams else 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_the_type_is_what_the_bytes_are(tmp_path: Path, kind: str) -> None:
    """The picture is not touched, and its type is not believed but read."""
    data = encoded(textured(), kind)
    result, _, _ = await bought(tmp_path, asked(), Answer(image=data))
    assert (result.data, result.mime) == (data, f"image/{kind.lower()}")


async def test_a_slow_answer_is_waited_for(tmp_path: Path) -> None:
    """Nothing is given up before its deadline."""
    result, call, _ = await bought(tmp_path, asked(), Answer("ok", delay=0.4))
    assert result.data == call.sent


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("fault", "error", "failure", "code", "status"),
    [
        ("drop", Uncertain, "outage", None, None),
        ("drop_after", Uncertain, "outage", None, None),
        ("truncate", Uncertain, "outage", None, None),
        ("empty", VendorFailed, "empty", None, 200),
        ("refuse", Refused, "refused", "moderation_blocked", 400),
        ("rate", Unavailable, "rate", "rate_limit_exceeded", 429),
        ("quota", VendorFailed, "quota", "insufficient_quota", 429),
        ("error", Unavailable, "outage", "server_error", 500),
    ],
)
async def test_each_misbehaviour_is_one_call_and_one_known_error(
    tmp_path: Path,
    fault: Fault,
    error: type[VendorError],
    failure: str,
    code: str | None,
    status: int | None,
    streams: bool,
) -> None:
    """Each fault of the vendor is reported by kind, with the vendor's own code, status and request id."""
    ended = await failed(tmp_path, Answer(fault), vendor=played.OpenAI(streams=streams))
    assert (type(ended), ended.failure, ended.provider_code, ended.provider_status) == (error, failure, code, status)
    assert ended.request_id or fault == "drop"


async def test_a_vendor_that_never_answers_leaves_the_call_uncertain(tmp_path: Path) -> None:
    """Past the deadline it is unknown what was bought."""
    ended = await failed(tmp_path, Answer("hang"), VENDOR_SECONDS="0.4")
    assert (type(ended), ended.code) == (Uncertain, "deadline")


async def test_a_vendor_that_is_not_there_was_never_called(tmp_path: Path) -> None:
    """No connection, nothing done: the call may be made again."""
    async with Wire() as wire:
        url = wire.url
    async with shop(tmp_path, url) as env:
        with pytest.raises(Unavailable) as ended:
            await call_adapter(adapter, asked(), env, Told())
    assert ended.value.failure == "outage" and not wire.calls


IN_AN_HOUR = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("soon", None),
        (None, None),
        (f"Wed, 21 Oct {10**20} 07:28:00 GMT", None),
        (email.utils.format_datetime(IN_AN_HOUR, usegmt=True), 3600),
    ],
    ids=["seconds", "none at all", "garbage", "nothing", "no date", "a date"],
)
async def test_the_wait_that_a_vendor_asks_for_is_told(
    tmp_path: Path, header: str | None, seconds: float | None
) -> None:
    """Seconds, a date, nonsense or nothing."""
    ended = await failed(tmp_path, Answer("rate", retry_after=header))
    assert isinstance(ended, Unavailable)
    if seconds is not None and seconds > 60:
        # The date was made when the tests were collected, which may be long ago.
        assert ended.retry_after is not None and 1 < ended.retry_after <= seconds
    else:
        assert ended.retry_after == seconds


@pytest.mark.parametrize(
    ("code", "error", "failure"),
    [
        ("moderation_blocked", Refused, "refused"),
        ("content_policy_violation", Refused, "refused"),
        ("image_generation_user_error", Refused, "refused"),
        ("insufficient_quota", VendorFailed, "quota"),
        ("project_spend_limit_exceeded", VendorFailed, "quota"),
        ("rate_limit_exceeded", VendorFailed, "empty"),
        ("server_error", VendorFailed, "empty"),
        ("something_else", VendorFailed, "empty"),
    ],
)
async def test_an_error_inside_the_stream_speaks_by_its_code(
    tmp_path: Path, code: str, error: type[VendorError], failure: str
) -> None:
    """After the 200 and a preview an error can still come; it has no status."""
    ended = await failed(tmp_path, vendor=played.OpenAI(breaks=code))
    assert (type(ended), ended.failure, ended.provider_code) == (error, failure, code)
    assert ended.request_id is not None


@dataclasses.dataclass
class Says:
    """A server with a dialect of OpenAI's API: it gives this one answer."""

    body: bytes
    mime: str = "application/json"
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    name: str = "openai"
    prefix: str = "/openai/v1"

    def reply(self, call: Received, answer: Answer) -> Reply:
        return Reply(self.body, self.status, self.headers, self.mime)


@pytest.mark.parametrize(
    ("said", "error", "failure", "code"),
    [
        ({"code": "moderation_blocked", "message": "no"}, Refused, "refused", "moderation_blocked"),
        ({"code": "insufficient_quota", "message": "no"}, VendorFailed, "quota", "insufficient_quota"),
        ({"code": "server_error"}, VendorFailed, "empty", "server_error"),
        ({"code": "rate_limit_exceeded"}, VendorFailed, "empty", "rate_limit_exceeded"),
        ({"code": 500, "message": "no"}, VendorFailed, "empty", None),
        ("just words", VendorFailed, "empty", None),
        ({"code": "a whole story " * 99}, VendorFailed, "empty", None),
    ],
)
async def test_an_error_that_comes_as_200_is_that_error(
    tmp_path: Path, said: Any, error: type[VendorError], failure: str, code: str | None
) -> None:
    """A proxy between us and the vendor may answer 200 with an error: its code decides, also about the bill."""
    ended = await failed(tmp_path, vendor=Says(msgspec.json.encode({"error": said})))
    assert (type(ended), ended.failure, ended.provider_code) == (error, failure, code)


async def test_an_error_that_calls_itself_nothing_speaks_by_its_status(tmp_path: Path) -> None:
    """Whatever is in place of a code, an answered 4xx bought nothing."""
    for said in (b'{"error": {"code": ["a"], "type": {"b": 1}}}', b'{"error": [1]}', b"[]", b""):
        ended = await failed(tmp_path, vendor=Says(said, status=400))
        assert (type(ended), ended.failure, ended.provider_status) == (VendorFailed, "invalid", 400)


@pytest.mark.parametrize("usage", [None, [1], "much", {"output_tokens": "many"}, {"output_tokens": 10**30}])
async def test_nothing_said_beside_a_picture_costs_the_picture(tmp_path: Path, usage: Any) -> None:
    """A strange bill, size or order of previews leaves the picture intact, and is at most reported as an adjustment."""
    data, strange = coded(picture(9)), {"size": ["1"], "quality": {"a": 1}, "background": "so " * 99, "usage": usage}
    partial = {"type": "image_generation.partial_image", "b64_json": coded(picture(1)), "partial_image_index": "last"}
    events = [partial, {**partial, "partial_image_index": -5, "b64_json": "!"}]
    stream = [*events, {"type": "image_generation.completed", "b64_json": data, **strange}]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in stream)
    result, _, told = await bought(tmp_path, asked(), vendor=Says(body, "text/event-stream"))
    assert result.data == picture(9) and told.previews == [picture(1)] and told.fractions == sorted(told.fractions)
    assert [result.provider_meta[name] for name in ("size", "quality", "background")] == [None] * 3
    assert result.adjustments == []


@pytest.mark.parametrize("data", ["[]", "null", "7", '"x"', '{"type": 7}'])
async def test_events_that_are_none_cost_no_picture(tmp_path: Path, data: str) -> None:
    """A strange event costs no picture that comes after it; alone it is an answer without one."""
    ended = await failed(tmp_path, vendor=Says(f"data: {data}\n\n".encode(), "text/event-stream"))
    assert (type(ended), ended.failure) == (VendorFailed, "empty")
    completed = json.dumps({"type": "image_generation.completed", "b64_json": coded(picture(9))})
    body = f"data: {data}\n\ndata: {completed}\n\n".encode()
    result, *_ = await bought(tmp_path, asked(), vendor=Says(body, "text/event-stream"))
    assert result.data == picture(9)


async def test_an_answered_outage_left_nothing_behind(tmp_path: Path) -> None:
    """A status that means "not now" means that nothing was made."""
    ended = await failed(tmp_path, Answer("error", status=503, retry_after="3"))
    assert (type(ended), ended.failure, ended.provider_status) == (Unavailable, "outage", 503)
    assert isinstance(ended, Unavailable) and ended.retry_after == 3


async def test_a_key_that_is_not_accepted_is_said(tmp_path: Path) -> None:
    """Not a refusal of the picture, and not worth another try."""
    ended = await failed(tmp_path, OPENAI_API_KEY="wrong")
    assert (type(ended), ended.failure, ended.provider_status) == (VendorFailed, "invalid", 401)
    assert (ended.message, ended.provider_code) == ("OpenAI did not accept our key", "invalid_api_key")


async def test_a_faulty_request_is_no_refusal(tmp_path: Path) -> None:
    """A 4xx about our request, even of the type that also names refusals, is our fault."""
    ended = await failed(tmp_path, Answer("refuse"), vendor=played.OpenAI(refusal="invalid_image_file"))
    assert (type(ended), ended.failure, ended.provider_code) == (VendorFailed, "invalid", "invalid_image_file")
    async with Wire() as wire, shop(tmp_path, wire.url) as env:
        with pytest.raises(VendorFailed) as refused:
            await call_adapter(adapter, asked(prompt=""), env, Told())
    assert (refused.value.failure, refused.value.provider_status) == ("invalid", 400)


async def test_nothing_is_logged_that_nobody_may_see(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the prompt is in the log of a call that failed."""
    with caplog.at_level(logging.INFO):
        await failed(tmp_path, Answer("refuse"))
    assert caplog.records and not any(secret in caplog.text for secret in (KEY, PROMPT))


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (asked("edit", start_image=None), "start_image_missing"),
        (asked("inpaint", mask=None), "mask_missing"),
        (asked("inpaint", mask=OTHER), "mask_size"),
        (asked("edit", start_image=InputImage(b"no image", "image/png", 5, 5)), "image_rejected"),
    ],
)
async def test_what_cannot_be_asked_is_never_sent(tmp_path: Path, op: ImageOp, code: str) -> None:
    """An op that lacks what its kind needs ends before the call."""
    async with Wire() as wire, shop(tmp_path, wire.url) as env:
        with pytest.raises(Invalid) as refused:
            await call_adapter(adapter, op, env, Told())
    assert refused.value.code == code and not wire.calls


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"seed": 1}, "the seed is not used: OpenAI takes none"),
        ({"quality": "finest"}, "quality finest became medium"),
        ({"size": "1000x1000"}, "size 1000x1000 became 1008x1008"),
        ({"prompt": "x" * 32_001}, "the prompt was cut to 32000 characters"),
        ({"references": (OTHER,) * 16}, "only the first 15 reference images are used"),
        ({"mask": MASK}, "the mask is not used by generate"),
        ({"start_image": START}, "the start image is not used by generate"),
        (
            {"negative_prompt": "rain"},
            "the negative prompt is sent as words of the prompt: OpenAI has no field for it",
        ),
    ],
)
def test_each_change_is_announced_before_anything_is_spent(fields: dict[str, Any], note: str) -> None:
    """Every change is known before anything is spent, so `strict` can refuse it."""
    assert adapter.adjustments(asked(**fields)) == [note]
    assert adapter.adjustments(asked(size="2048x1152", quality="low")) == []


def test_a_start_image_gives_its_shape() -> None:
    """Without a size, the result has the shape of what it is made from, in no more pixels than a listed size has."""
    for width, height in ((3000, 2250), (300, 200), (90, 1600)):
        start = InputImage(b"", "image/png", width, height)
        op = asked("edit", start_image=start)
        size = plan(op, "openai", MODELS).size
        assert size and size[0] * size[1] <= 1.1 * 1536 * 1024
        assert math.log(size[0] / size[1]) == pytest.approx(max(math.log(width / height), math.log(1 / 3)), abs=0.04)
        assert adapter.adjustments(op) == [f"the start image of {width}x{height} became {size[0]}x{size[1]}"]
    exact = InputImage(b"", "image/png", 1024, 1536)
    assert adapter.adjustments(asked("edit", start_image=exact)) == []


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_any_size_becomes_one_that_can_be_had(width: int, height: int) -> None:
    """The nearest size is always possible, and a possible one is unchanged."""
    free, fixed = MODELS[0], next(model for model in MODELS if model.any_size is None)
    near = nearest(free, (width, height))
    assert played.possible(f"{near[0]}x{near[1]}") and nearest(free, near) == near
    listed = nearest(fixed, (width, height))
    assert f"{listed[0]}x{listed[1]}" in fixed.sizes


BILLED: tuple[dict[str, Any], ...] = (
    {"size": "1024x1024"},
    {"size": "1920x640", "quality": "high", "prompt": "ø" * 300},
    {"references": (OTHER,) * 3},
)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bill_lies_between_its_bounds(tmp_path: Path, kind: Kind) -> None:
    """The bill is between the quoted bounds, whether or not the start image was known at the time of the quote."""
    async with Wire() as wire, shop(tmp_path, wire.url) as env:
        for model in MODELS:
            for fields in BILLED:
                op = asked(kind, model=model.id, **fields)
                result = await call_adapter(adapter, op, env, Told())
                bill = wire.calls[-1].bill * 1e6
                for quoted in (op, msgspec.structs.replace(op, start_image=None, mask=None)):
                    asking = prices.quote(env, "openai", model.id, *adapter.meter(quoted))
                    assert asking.basis == "ceiling" or asking.low <= bill, (quoted.kind, model.id, fields)
                    assert bill <= asking.high, (quoted.kind, model.id, fields)
                charged = prices.charge(env, "openai", model.id, result.units, asking)
                assert charged.basis == "usage" and charged.micros == pytest.approx(bill, abs=1)


@pytest.mark.parametrize("kind", ["generate", "edit"])
def test_what_is_not_published_is_not_guessed(kind: Kind) -> None:
    """A model with known token counts is quoted by them; one with an unknown count is treated as unpriced."""
    assert adapter.meter(asked(kind, model="gpt-image-2.6-flare", quality="low")) == ({}, {})
    assert (adapter.meter(asked(kind, model="gpt-image-2.5-flare")) == ({}, {})) == (kind == "edit")
    assert adapter.meter(asked(kind, size="1024x1024"))[0] == {"image_output": 1756}


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from(["low", "medium", "high"]))
def test_the_tokens_of_an_unknown_shape_are_bounded(width: int, height: int, quality: str) -> None:
    """Before the start image is known, its tokens are bounded by those of all shapes that it may have."""
    known = asked("edit", start_image=InputImage(b"", "image/png", width, height), quality=quality)
    least, most = adapter.meter(msgspec.structs.replace(known, start_image=None))
    exact, dearer = adapter.meter(known)
    assert least["image_output"] <= exact["image_output"] < dearer["image_output"] <= most["image_output"]


def test_upscaling_is_not_offered() -> None:
    """The vendor has no endpoint for it, and each kind's default model comes first."""
    assert not adapter.supports("upscale") and adapter.supports("inpaint", "gpt-image-2.5-flare")
    assert {c.kind for c in adapter.capabilities()} == set(KINDS)
    assert next(c.model for c in adapter.capabilities() if c.kind == "edit") == "gpt-image-2"


def test_the_sdk_is_loaded_when_it_is_needed() -> None:
    """A process that only lists the provider does not import its SDK."""
    code = (
        "import sys; from adapters.openai.images import adapter; adapter.capabilities(); print('openai' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@dataclasses.dataclass
class Replies:
    """A server with this one answer."""

    answer: Reply
    name: str = "openai"
    prefix: str = "/openai/v1"

    def reply(self, call: Received, answer: Answer) -> Reply:
        return self.answer


def fault(status: int, **said: Any) -> Reply:
    return Reply(json.dumps({"error": said}).encode(), status)


FLAT = {"type": "error", "code": "moderation_blocked", "message": "said by the vendor", "param": None}
FLAT_EVENT = Reply(f"event: error\ndata: {json.dumps(FLAT)}\n\n".encode(), mime="text/event-stream")
UNVERIFIED = "Your organization must be verified to use the model `gpt-image-2`. Click on Verify Organization."


@pytest.mark.parametrize(
    ("reply", "kind", "failure", "code"),
    [
        pytest.param(
            fault(400, code="content_filter", message="said by the vendor", innererror={"code": "x"}),
            Refused,
            "refused",
            "content_filter",
            id="Azure's filter",
        ),
        pytest.param(FLAT_EVENT, Refused, "refused", "moderation_blocked", id="an event that is the error itself"),
        pytest.param(
            fault(400, code="400", type="image_generation_user_error", message="litellm.BadRequestError"),
            Refused,
            "refused",
            "image_generation_user_error",
            id="a gateway that repeats the status",
        ),
        pytest.param(
            fault(403, code=None, type="invalid_request_error", message=UNVERIFIED),
            VendorFailed,
            "invalid",
            "organization_not_verified",
            id="an organisation that is not verified",
        ),
        pytest.param(fault(402, code=402, message="pay"), VendorFailed, "quota", None, id="no money, in numbers"),
    ],
)
async def test_each_no_is_read_in_its_own_form(
    tmp_path: Path, reply: Reply, kind: type[VendorError], failure: str, code: str | None
) -> None:
    """Azure, gateways and OpenAI itself say the same in several forms."""
    ended = await failed(tmp_path, vendor=Replies(reply))
    assert (type(ended), ended.failure, ended.provider_code) == (kind, failure, code)


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"input_tokens": 12, "total_tokens": 12}, {"image_input": 12}),
        (
            {"input_tokens": 12, "input_tokens_details": {"text_tokens": 12, "image_tokens": 0}},
            {"text_input": 12, "image_input": 0, "image_output": 0, "text_output": 0},
        ),
        (None, {}),
        ({"output_tokens": 196}, {}),
    ],
)
async def test_an_answer_that_tells_no_output_costs_what_it_says(
    tmp_path: Path, usage: dict[str, Any] | None, units: dict[str, float]
) -> None:
    """Without an image only what was counted is on the bill; where nothing was, nobody can say."""
    ended = await failed(tmp_path, vendor=Replies(Reply(json.dumps({"data": [], "usage": usage}).encode())))
    assert (ended.failure, dict(ended.units)) == ("empty", units)
