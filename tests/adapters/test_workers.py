"""Workers AI over real sockets: every model and kind of job, every way a call can end, and its price."""

import contextlib
import datetime
import email.utils
import io
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from adapters.provider import ImageOp, InputImage, ProviderResult
from adapters.workers import answer as answers
from adapters.workers import request
from adapters.workers.images import adapter
from app.bindings.ai.registry import open_ai
from tests.support.environment import bare_env, settings
from tests.support.files.small_images import as_input, gradient, mask, opened, plain
from tests.support.image_calls import call_provider
from tests.support.internet import Answer, Received, Wire
from tools.env import Env
from tools.errors import Invalid, Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.models.catalog import ImageModel, Units

TOKEN, PROMPT = "a-token-nobody-may-read", "a fox that nobody may read of"
FLUX, KLEIN9, DEV = (f"@cf/black-forest-labs/flux-2-{name}" for name in ("klein-4b", "klein-9b", "dev"))
SCHNELL, LUCID, PHOENIX = (
    "@cf/black-forest-labs/flux-1-schnell",
    "@cf/leonardo/lucid-origin",
    "@cf/leonardo/phoenix-1.0",
)
LIGHTNING = "@cf/bytedance/stable-diffusion-xl-lightning"
INPAINTING, IMG2IMG = (f"@cf/runwayml/stable-diffusion-v1-5-{name}" for name in ("inpainting", "img2img"))
GENERATE = [model for model in request.models() if "generate" in model.kinds]
FOX = ImageOp(kind="generate", prompt=PROMPT, seed=7)
START = as_input(gradient((200, 40, 40), (40, 40, 200), (300, 200)))


@contextlib.asynccontextmanager
async def reaching(home: Path, wire: Wire | str, most: int | None = None, /, **environ: str) -> AsyncIterator[Env]:
    """An `Env` whose Workers AI is the one of this wire, or at that address; `most` is the limit of an answer."""
    url = wire if isinstance(wire, str) else wire.url
    chosen = settings(
        home,
        CLOUDFLARE_ACCOUNT_ID="ACCOUNT",
        CLOUDFLARE_API_TOKEN=TOKEN,
        CLOUDFLARE_BASE_URL=f"{url}/cloudflare/client/v4",
        **environ,
    )
    async with open_ai(chosen, most=most) as ai, bare_env(home, settings=chosen, AI=ai) as env:
        yield env


async def deaf(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


async def made(home: Path, op: ImageOp, *answers: Answer) -> tuple[ProviderResult, Received]:
    """What one op came to, and the one call it was."""
    async with Wire() as wire, reaching(home, wire) as env:
        wire.scripts["workers"].extend(answers)
        result = await call_provider("workers", op, env, deaf)
    [call] = wire.calls
    return result, call


async def ended(home: Path, op: ImageOp, answer: Answer, most: int | None = None, /, **environ: str) -> VendorError:
    """The error that one op ended in, with one call behind it and nothing in it that is not for everyone."""
    async with Wire() as wire, reaching(home, wire, most, **environ) as env:
        wire.scripts["workers"].append(answer)
        with pytest.raises(VendorError) as error:
            await call_provider("workers", op, env, deaf)
    [call] = wire.calls
    shown = f"{error.value} {error.value.message} {error.value.code} {error.value.detail}"
    assert not [word for word in (TOKEN, PROMPT, "AiError", "127.0.0.1", call.id) if word in shown]
    return error.value


def values(call: Received) -> dict[str, Any]:
    """The fields of a call without its pictures."""
    return {name: value for name, value in call.body.items() if name not in ("image", "mask")}


def arrays(call: Received) -> dict[str, Image.Image]:
    """The pictures of a JSON call."""
    return {name: opened(bytes(call.body[name])) for name in ("image", "mask") if name in call.body}


@pytest.mark.parametrize("model", GENERATE, ids=lambda model: model.id)
async def test_each_model_is_asked_in_its_own_words_and_its_bytes_come_back_as_they_are(
    tmp_path: Path, model: ImageModel
) -> None:
    """JSON or a form, base64 or bare bytes: one call, the vendor's bytes, and their type by what they are."""
    op = msgspec.structs.replace(FOX, model=model.id, negative_prompt="dogs")
    result, call = await made(tmp_path, op)
    assert result.data == call.sent
    assert result.mime == f"image/{str(opened(result.data).format).lower()}"
    assert result.request_id == call.id
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.body["prompt"] == PROMPT
    assert (str(call.body.get("seed")) == "7") is model.seed
    assert ("negative_prompt" in call.body) is model.negative_prompt
    assert adapter.adjustments(op) == result.adjustments


async def test_bytes_are_believed_before_a_content_type(tmp_path: Path) -> None:
    """The type of a JPEG that the model declares to be a PNG is JPEG."""
    result, call = await made(tmp_path, msgspec.structs.replace(FOX, model=LIGHTNING))
    assert (result.mime, result.data) == ("image/jpeg", call.sent)


async def test_an_edit_sends_the_start_image_first_and_then_its_references(tmp_path: Path) -> None:
    """Pictures are sent in order, each scaled below 512 pixels, and what is left out or scaled is reported."""
    big = as_input(gradient((0, 90, 0), (250, 250, 0), (1200, 800)))
    small = [as_input(plain((n * 50, 10, 10), (64, 48))) for n in range(5)]
    op = ImageOp(kind="edit", prompt=PROMPT, seed=3, start_image=big, references=tuple(small))
    result, call = await made(tmp_path, op)
    sent = {part.name: opened(part.data) for part in call.parts if part.filename}
    assert list(sent) == [f"input_image_{n}" for n in range(4)]
    assert [image.size for image in sent.values()] == [(511, 341), (64, 48), (64, 48), (64, 48)]
    assert sent["input_image_2"].convert("RGB").getpixel((9, 9)) == (50, 10, 10)
    assert values(call) == {"prompt": PROMPT, "seed": "3", "width": "1248", "height": "832"}
    assert result.adjustments == [
        "the start image is 1200x800, the result 1248x832",
        "2 of the reference images not used: the model takes 4 pictures",
        "pictures are sent with at most 511 pixels a side, all that the model takes",
    ]
    assert call.bill == pytest.approx(0.000011 * (1248 * 832 * 26.05 + (511 * 341 + 3 * 64 * 48) * 5.37) / 2**18)


@pytest.mark.parametrize("way", ["transparent", "white"])
async def test_inpainting_sends_white_where_the_caller_wants_a_change(tmp_path: Path, way: Any) -> None:
    """A transparent and a white mask come to one: image and mask of the result's size, white to be painted."""
    wanted = as_input(mask((300, 200), (100, 50, 200, 150), way))
    op = ImageOp(kind="inpaint", prompt=PROMPT, seed=1, negative_prompt="dogs", start_image=START, mask=wanted)
    result, call = await made(tmp_path, op)
    sent = arrays(call)
    assert {image.size for image in sent.values()} == {(384, 256)}
    assert sent["mask"].getpixel((160, 90)) == 255 and sent["mask"].getpixel((20, 20)) == 0
    assert values(call) == {"prompt": PROMPT, "seed": 1, "negative_prompt": "dogs", "width": 384, "height": 256}
    assert result.data == call.sent
    assert result.adjustments == ["the start image is 300x200, the result 384x256"]


async def test_outpainting_keeps_the_start_image_in_the_middle_and_paints_around_it(tmp_path: Path) -> None:
    """The canvas has the requested size, the start image unchanged within it, and the mask is the rest."""
    op = ImageOp(kind="outpaint", prompt=PROMPT, start_image=START, size="512x400")
    result, call = await made(tmp_path, op)
    sent = arrays(call)
    assert sent["image"].size == sent["mask"].size == (512, 400)
    assert sent["mask"].getbbox() == (0, 0, 512, 400)
    assert sent["mask"].crop((106, 100, 406, 300)).getextrema() == (0, 0)
    assert sent["mask"].getpixel((100, 200)) == sent["mask"].getpixel((200, 95)) == 255
    assert sent["image"].crop((106, 100, 406, 300)).tobytes() == opened(START.data).convert("RGB").tobytes()
    assert (result.data, result.adjustments) == (call.sent, [])


async def test_a_canvas_that_is_too_large_is_scaled_with_the_start_image_in_it(tmp_path: Path) -> None:
    """The picture keeps its place and its share of the canvas, and both sizes are reported."""
    op = ImageOp(kind="outpaint", prompt=PROMPT, start_image=START, size="1200x800")
    result, call = await made(tmp_path, op)
    hole = arrays(call)["mask"].point(lambda value: 255 - value).getbbox()
    assert hole == (384, 254, 640, 425)
    assert result.adjustments == [
        "size 1200x800 became 1024x680",
        "the start image of 300x200 was scaled to 256x171 within it",
    ]


async def test_a_variation_may_be_asked_of_the_old_model_too(tmp_path: Path) -> None:
    """Image to image: the start image as bytes, and how far to leave it."""
    op = ImageOp(kind="variation", prompt=PROMPT, model=IMG2IMG, start_image=START, size="512x344")
    result, call = await made(tmp_path, op)
    assert arrays(call)["image"].size == (512, 344)
    assert call.body["strength"] == 0.6 and "mask" not in call.body
    assert result.data == call.sent


async def test_progress_is_told_before_and_after_the_model_works(tmp_path: Path) -> None:
    """Both fractions come, and never fall."""
    told: list[float] = []

    async def tell(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None:
        told.append(fraction)

    async with Wire(delay=0.1) as wire, reaching(tmp_path, wire) as env:
        await call_provider("workers", FOX, env, tell)
    assert told == sorted(told) and len(told) == 2


QUICK = {"VENDOR_SECONDS": "0.5"}


@pytest.mark.parametrize("model", [FLUX, PHOENIX])
@pytest.mark.parametrize(
    ("answer", "kind", "failure", "code"),
    [
        pytest.param(Answer("hang"), Uncertain, "outage", "deadline", id="hang"),
        pytest.param(Answer("drop"), Uncertain, "outage", "uncertain", id="drop"),
        pytest.param(Answer("drop_after"), Uncertain, "outage", "uncertain", id="drop after"),
        pytest.param(Answer("truncate"), Uncertain, "outage", "uncertain", id="truncate"),
        pytest.param(Answer("empty"), VendorFailed, "empty", "provider_failed", id="empty"),
        pytest.param(Answer("refuse"), Refused, "refused", "refused", id="refuse"),
        pytest.param(Answer("rate"), Unavailable, "rate", "unavailable", id="rate"),
        pytest.param(Answer("quota"), VendorFailed, "quota", "provider_failed", id="quota"),
        pytest.param(Answer("error"), Unavailable, "outage", "unavailable", id="error"),
        pytest.param(Answer("error", status=503), Unavailable, "outage", "unavailable", id="503"),
        pytest.param(Answer(status=502), Uncertain, "outage", "deadline", id="502 around an image"),
    ],
)
async def test_each_misfortune_is_one_call_and_one_known_error(
    tmp_path: Path, model: str, answer: Answer, kind: type[VendorError], failure: str, code: str
) -> None:
    """No call is repeated, and only an error of a call that certainly did nothing permits a retry."""
    error = await ended(
        tmp_path, msgspec.structs.replace(FOX, model=model), answer, **(QUICK if answer.fault == "hang" else {})
    )
    assert (type(error), error.failure, error.code) == (kind, failure, code)
    known = answer.fault not in ("hang", "drop")
    assert (error.request_id is not None) is known


@pytest.mark.parametrize(
    ("status", "said", "kind", "failure"),
    [
        pytest.param(429, "3036 You have used up your daily free allocation", VendorFailed, "quota", id="3036"),
        pytest.param(429, "4006 you have used up your daily free allocation", VendorFailed, "quota", id="4006"),
        pytest.param(429, "3040 No more data centers", Unavailable, "outage", id="3040"),
        pytest.param(200, "3040 No more data centers", VendorFailed, "empty", id="3040 as 200"),
        pytest.param(400, "3030 Input prompt contains NSFW content", Refused, "refused", id="3030"),
        pytest.param(200, "3030 Your output has been flagged", Refused, "refused", id="3030 as 200"),
        pytest.param(400, "3030 Model input is not valid: no `image`", VendorFailed, "invalid", id="3030 input"),
        pytest.param(400, "3030 missing required input mask", VendorFailed, "invalid", id="3030 missing"),
        pytest.param(400, "3010 unexpected shape for input", VendorFailed, "invalid", id="3010"),
        pytest.param(400, "5007 No such model", VendorFailed, "invalid", id="5007"),
        pytest.param(400, "5004 Invalid data type", VendorFailed, "invalid", id="5004"),
        pytest.param(400, "5006 Error: required properties", VendorFailed, "invalid", id="5006"),
        pytest.param(400, "3003 Request is missing headers or body", VendorFailed, "invalid", id="3003"),
        pytest.param(413, "3006 Request is too large", VendorFailed, "invalid", id="3006"),
        pytest.param(404, "3042 The model name is invalid", VendorFailed, "invalid", id="3042"),
        pytest.param(403, "5016 User has not agreed to model terms", VendorFailed, "invalid", id="5016"),
        pytest.param(403, "5018 The account is not allowed", VendorFailed, "invalid", id="5018"),
        pytest.param(403, "3023 Service unavailable for account", VendorFailed, "invalid", id="3023"),
        pytest.param(401, "10000 Authentication error", VendorFailed, "invalid", id="10000"),
        pytest.param(408, "3007 Request timeout", Uncertain, "outage", id="3007"),
        pytest.param(408, "3008 Request was aborted", Uncertain, "outage", id="3008"),
        pytest.param(200, "3007 Request timeout", Uncertain, "outage", id="3007 as 200"),
        pytest.param(408, "1 Request timeout", Uncertain, "outage", id="408"),
        pytest.param(200, "9999 something new", VendorFailed, "invalid", id="unknown as 200"),
    ],
)
async def test_each_code_of_the_vendor_means_what_its_documents_say(
    tmp_path: Path, status: int, said: str, kind: type[VendorError], failure: str
) -> None:
    """What was not done is retryable, refused is the vendor's refusal, and the vendor's own message is kept for the
    ledger."""
    error = await ended(tmp_path, FOX, Answer("error", status=status, text=said))
    assert (type(error), error.failure) == (kind, failure)
    assert (error.provider_status, error.provider_code) == (status, said.split()[0])
    assert error.request_id is not None


def test_an_error_without_words_speaks_by_its_code() -> None:
    """A refusal is recognised whatever else its envelope leaves empty."""
    for body in (b'{"errors": [{"code": 3030, "message": null}]}', b'{"errors": [{"code": 3030}], "result": null}'):
        with pytest.raises(Refused):
            answers.image_of(answers.Answer(400, {}, body), "http://x")
    with pytest.raises(VendorFailed) as empty:
        answers.image_of(answers.Answer(200, {}, b'{"result": null, "success": true, "errors": null}'), "http://x")
    assert empty.value.failure == "empty"


async def test_the_two_reasons_of_a_403_are_told_apart(tmp_path: Path) -> None:
    """The error distinguishes whether the key or the account must change."""
    key = await ended(tmp_path, FOX, Answer("error", status=403, text="10000 Authentication error"))
    plan_of_account = await ended(tmp_path / "b", FOX, Answer("error", status=403, text="5018 not allowed"))
    assert key.message == "the provider did not accept our key"
    assert plan_of_account.message == "the provider does not let our account use this model"


IN_TEN_HOURS = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=10))


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("0.5", 0.5, 0.5), (IN_TEN_HOURS, 1, 36_000), ("soon", None, None), (None, None, None)],
    ids=["seconds", "half a second", "a date", "garbage", "nothing"],
)
@pytest.mark.parametrize("fault", ["rate", "error"])
async def test_the_wait_that_the_vendor_asks_for_is_kept(
    tmp_path: Path, fault: Any, header: str | None, least: float | None, most: float | None
) -> None:
    """Seconds or a date; what cannot be read is no wait."""
    error = await ended(tmp_path, FOX, Answer(fault, retry_after=header))
    assert isinstance(error, Unavailable)
    if least is None or most is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None and least <= error.retry_after <= most


async def test_a_slow_answer_is_waited_for(tmp_path: Path) -> None:
    """The deadline is VENDOR_SECONDS, not less."""
    result, call = await made(tmp_path, FOX, Answer(delay=0.4))
    assert result.data == call.sent


async def test_a_connection_that_was_never_made_is_nothing_done(tmp_path: Path) -> None:
    """When nothing listens, the call may be made again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with reaching(tmp_path, url) as env:
        with pytest.raises(Unavailable) as error:
            await call_provider("workers", FOX, env, deaf)
    assert error.value.message == "Workers AI could not be reached"


@pytest.mark.parametrize("model", [FLUX, PHOENIX])
async def test_an_answer_is_read_no_further_than_images_may_be_large(tmp_path: Path, model: str) -> None:
    """The limit bounds the memory of one call; its request id is kept."""
    noise = Image.frombytes("RGB", (400, 400), random.Random(1).randbytes(480_000))
    out = io.BytesIO()
    noise.save(out, "PNG")
    op = msgspec.structs.replace(FOX, model=model)
    error = await ended(tmp_path, op, Answer(image=out.getvalue()), 320_000)
    assert (type(error), error.failure) == (VendorFailed, "invalid")
    assert error.message == "Workers AI's answer is longer than an answer may be" and error.request_id


UNFIT = [
    pytest.param(ImageOp(kind="generate", prompt="x" * 2049, model=SCHNELL), "prompt_too_long", id="long prompt"),
    pytest.param(ImageOp(kind="upscale", prompt=PROMPT, start_image=START), "unsupported_model", id="kind"),
    pytest.param(ImageOp(kind="edit", prompt=PROMPT, model=SCHNELL), "unsupported_model", id="model"),
    pytest.param(ImageOp(kind="edit", prompt=PROMPT), "start_image_missing", id="no start image"),
    pytest.param(ImageOp(kind="inpaint", prompt=PROMPT, start_image=START), "mask_missing", id="no mask"),
    pytest.param(
        ImageOp(kind="inpaint", prompt=PROMPT, start_image=START, mask=as_input(plain((9, 9, 9), (64, 64)))),
        "mask_size",
        id="mask of another shape",
    ),
]


@pytest.mark.parametrize(("op", "code"), UNFIT)
async def test_what_cannot_be_made_is_refused_before_anything_is_sent(tmp_path: Path, op: ImageOp, code: str) -> None:
    """No prompt is cut and no image made up: the vendor is not called."""
    async with Wire() as wire, reaching(tmp_path, wire) as env:
        with pytest.raises(Invalid) as error:
            await call_provider("workers", op, env, deaf)
    assert (error.value.code, wire.calls) == (code, [])


def test_a_prompt_that_is_too_long_is_known_before_the_job() -> None:
    """A quote and the adjustments report it too."""
    op = ImageOp(kind="generate", prompt="x" * 2049, model=SCHNELL)
    for ask in (adapter.adjustments, adapter.meter):
        with pytest.raises(Invalid, match=r"2049 characters.* takes 2048 at most"):
            ask(op)


def image(width: int, height: int) -> InputImage:
    return InputImage(b"", "image/png", width, height)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": SCHNELL, "seed": 1}, [f"the seed is not used: {SCHNELL} takes none"]),
        ({"model": SCHNELL, "size": "512x512"}, ["size 512x512 became 1024x1024"]),
        ({"size": "1000x1000"}, ["size 1000x1000 became 992x992"]),
        ({"size": "4000x2000"}, ["size 4000x2000 became 1920x960"]),
        ({"size": "100x50"}, ["size 100x50 became 512x256"]),
        ({"size": "1920x1088", "seed": 1}, []),
        ({"quality": "high"}, ["quality is not used"]),
        ({"negative_prompt": "x"}, [f"{FLUX} has no negative prompt: what to avoid can only stand in the prompt"]),
        ({"references": (image(9, 9),), "model": LUCID}, [
            "1 of the reference images not used: the model takes no pictures",
        ]),
        ({"start_image": image(9, 9), "mask": image(9, 9)}, [
            "the mask is not used by generate", "the start image is not used by generate",
        ]),
        ({"kind": "edit", "start_image": image(500, 500)}, ["the start image is 500x500, the result 1024x1024"]),
        ({"kind": "edit", "start_image": image(500, 500), "size": "1024x768"}, []),
        ({"kind": "inpaint", "start_image": image(512, 512), "mask": image(256, 256), "size": "512x300"}, [
            "size 512x300 became 512x512", "the mask was scaled to the size of the start image",
        ]),
        ({"kind": "outpaint", "start_image": image(1000, 700), "size": "1500x700"}, [
            "size 1500x700 became 1024x480", "the start image of 1000x700 was scaled to 683x478 within it",
        ]),
    ],
)  # fmt: skip
def test_what_will_be_changed_is_told_before_anything_is_spent(fields: dict[str, Any], told: list[str]) -> None:
    """Each deviation is a sentence, and a request that is met has none."""
    assert adapter.adjustments(ImageOp(**{"kind": "generate", "prompt": PROMPT, **fields})) == told


def cost(units: Units, rates: dict[Any, float]) -> float:
    return sum(rates[unit] * count for unit, count in units.items())


@pytest.mark.parametrize(
    ("model", "size", "neurons", "rates"),
    [
        (FLUX, None, 104.20, {"tile": 26.05, "input_tile": 5.37}),
        (KLEIN9, None, 1363.64, {"first_megapixel": 1363.64, "next_megapixel": 181.82, "input_megapixel": 181.82}),
        (DEV, None, 3750, {"tile_step": 37.5, "input_tile_step": 18.75}),
        (SCHNELL, None, 172.80, {"tile": 4.80, "tile_step": 9.60}),
        (LUCID, None, 3904.69, {"tile": 636, "tile_step": 12}),
        (PHOENIX, None, 3120, {"tile": 530, "tile_step": 10}),
        (LIGHTNING, "2048x2048", 0, {"step": 0}),
    ],
)
def test_what_is_metered_is_what_the_vendor_has_been_seen_to_bill(
    model: str, size: str | None, neurons: float, rates: dict[Any, float]
) -> None:
    """Neurons of real answers (of flux-2-dev half of them, for half its steps), from the page's neurons per unit."""
    least, _ = adapter.meter(ImageOp(kind="generate", prompt=PROMPT, model=model, size=size))
    assert cost(least, rates) == pytest.approx(neurons, abs=0.01)


RATES: dict[Any, float] = {
    "step": 0, "tile": 636, "tile_step": 37.5, "input_tile": 5.37, "input_tile_step": 18.75,
    "first_megapixel": 1363.64, "next_megapixel": 181.82, "input_megapixel": 181.82,
}  # fmt: skip


def test_a_quote_without_images_holds_whatever_they_will_be() -> None:
    """Any shape, any number of references, any requested size: the charge is between the bounds, and the result's size
    is one that the model has."""
    dice = random.Random(5)
    for _ in range(1500):
        model = dice.choice(request.models())
        asked = f"{dice.randint(1, 5000)}x{dice.randint(1, 5000)}" if dice.random() < 0.5 else None
        start, *others = (image(dice.randint(1, 6000), dice.randint(1, 6000)) for _ in range(dice.randint(1, 6)))
        unknown = ImageOp(kind=dice.choice(model.kinds), prompt=PROMPT, model=model.id, size=asked)
        known = msgspec.structs.replace(unknown, start_image=start, references=tuple(others), mask=start)
        least, most = (cost(units, RATES) for units in adapter.meter(unknown))
        paid = {cost(units, RATES) for units in adapter.meter(known)}
        assert len(paid) == 1 and least - 1e-9 <= paid.pop() <= most + 1e-9
        limits, (width, height) = model.any_size, request.plan(known).size
        if limits:
            assert all(limits.shortest <= s <= limits.longest and s % limits.multiple == 0 for s in (width, height))
        else:
            assert f"{width}x{height}" in model.sizes


@pytest.mark.parametrize("model", [model for model in GENERATE if model.wire["billed"] != ["step"]], ids=lambda m: m.id)
async def test_what_a_result_is_charged_by_is_the_vendors_bill(tmp_path: Path, model: ImageModel) -> None:
    """The charge is the neurons in the answer, or else what the call requested; the meter had quoted the same
    before."""
    op = msgspec.structs.replace(FOX, model=model.id)
    result, call = await made(tmp_path, op)
    told = model.id != PHOENIX
    assert (result.units.keys() == {"neuron"}) is told and (result.usage != {}) is told
    neurons = result.units["neuron"] if told else cost(result.units, {"tile": 530, "tile_step": 10})
    assert neurons * 0.000011 == pytest.approx(call.bill, abs=0.000011 * 0.005)
    assert told or result.units in adapter.meter(op)


async def test_pictures_that_were_sent_are_in_the_charge(tmp_path: Path) -> None:
    """A start image and a reference cost what the vendor counts, between the least and the most of the quote."""
    op = ImageOp(kind="edit", prompt=PROMPT, start_image=START, references=(START,), size="1920x1088")
    result, call = await made(tmp_path, op)
    [quoted] = {cost(units, {"tile": 26.05, "input_tile": 5.37}) for units in adapter.meter(op)}
    assert result.units == {"neuron": pytest.approx(quoted, abs=0.005)}
    assert call.bill == pytest.approx(quoted * 0.000011)


def test_every_kind_has_a_default_model_and_every_price_a_rate_for_what_is_metered() -> None:
    """The first model of the file that has the kind; a price that leaves out a unit would be no price."""
    first: dict[str, str] = {}
    for capability in adapter.capabilities():
        first.setdefault(capability.kind, capability.model)
    assert first == {
        "generate": FLUX, "edit": FLUX, "variation": FLUX, "inpaint": INPAINTING, "outpaint": INPAINTING,
    }  # fmt: skip
    for model in request.models():
        for price in model.price:
            assert set(request.facts(model).billed) <= price.rates.keys(), model.id


@pytest.mark.parametrize(("kind", "model", "able"), [
    ("generate", None, True), ("generate", SCHNELL, True), ("edit", SCHNELL, False), ("upscale", None, False),
    ("inpaint", INPAINTING, True), ("generate", "@cf/nobody/knows", False),
])  # fmt: skip
def test_it_supports_what_its_models_do(kind: Any, model: str | None, able: bool) -> None:
    """Kinds and models are read from the catalogue."""
    assert adapter.supports(kind, model) is able
