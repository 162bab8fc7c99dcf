"""Discovery, validation and the one door to providers."""

import asyncio
import base64
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters import discovery, planning, router
from adapters.answer_images import arriving
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from tests.support.environment import bare_env, settings
from tests.support.image_calls import call_provider
from tests.support.internet import picture
from tools.env import Env
from tools.errors import Invalid, PicassoError, Refused, Unavailable, Uncertain, VendorFailed
from tools.models.catalog import Units
from tools.rows import JobRequest


class Keys:
    """The part of AI that the router uses."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys


class Painter:
    """A provider under a test's control: `request` and `answer` are what its two steps return, an error that they
    raise, or None for a step that never ends."""

    free = False

    def __init__(
        self, id: str = "easel", needs: tuple[str, ...] = (), answer: Any = None, request: Any = "request"
    ) -> None:
        self.id, self.needs, self.answer, self.request = id, needs, answer, request
        self.optional: tuple[str, ...] = ()
        self.prepared = self.calls = 0

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return kind == "generate" and model in (None, "oil-1", "chalk-1")

    def capabilities(self) -> list[Capability]:
        return [Capability(kind="generate", model=model, sizes=["64x64"]) for model in ("oil-1", "chalk-1")]

    def adjustments(self, op: ImageOp) -> list[str]:
        return ["seed dropped"] if op.seed is not None else []

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return {}, {}

    async def prepare(self, op: ImageOp, env: Env) -> Any:
        self.prepared += 1
        return await self._come_to(self.request)

    async def send(self, request: Any, env: Env, on_progress: OnProgress) -> ProviderResult:
        self.calls += 1
        assert request == self.request
        return ProviderResult(data=await self._come_to(self.answer), mime="image/png")

    async def _come_to(self, end: Any) -> Any:
        if isinstance(end, BaseException):
            raise end
        if end is None:
            await asyncio.Event().wait()
        return end


async def deaf(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


def request(*providers: str | dict[str, str], **fields: Any) -> JobRequest:
    entries = [{"provider": entry} if isinstance(entry, str) else entry for entry in providers]
    return JobRequest(prompt="a cat", providers=entries, session_id="s", **fields)


def test_the_built_in_painter_is_found_and_modules_without_an_adapter_are_not() -> None:
    """Discovery takes the modules that define an `adapter` and ignores the others."""
    found = discovery.adapters_found().found
    assert found["sketch"].id == "sketch" and not {"router", "provider", "studio"} & found.keys()


async def test_items_are_numbered_over_the_provider_and_seeded_one_after_another(tmp_path: Path) -> None:
    """`variantIndex` continues when two models of one provider are requested; variant i has seed + i."""
    known = {"easel": Painter(), "knife": Painter("knife")}
    asked = request("easel", "knife", {"provider": "easel", "model": "chalk-1"}, variants=2, seed=40)
    async with bare_env(tmp_path, AI=Keys()) as env:
        shares = planning.plan_items(env, asked, known)
    assert [(s.provider, s.model, s.variant_index, s.seed) for s in shares] == [
        ("easel", "oil-1", 0, 40),
        ("easel", "oil-1", 1, 41),
        ("knife", "oil-1", 0, 40),
        ("knife", "oil-1", 1, 41),
        ("easel", "chalk-1", 2, 42),
        ("easel", "chalk-1", 3, 43),
    ]


async def test_without_a_seed_one_is_drawn_for_the_job(tmp_path: Path) -> None:
    """Two jobs without a seed get two, each counting up from its own."""
    async with bare_env(tmp_path, AI=Keys()) as env:
        first, second = (planning.plan_items(env, request("sketch", variants=3)) for _ in range(2))
    start, other = first[0].seed, second[0].seed
    assert start is not None and start != other and 0 <= start < planning.SEEDS
    assert [s.seed for s in first] == [start, start + 1, start + 2]


@pytest.mark.parametrize(
    ("asked", "code", "named"),
    [
        pytest.param(request("brush"), "unknown_provider", "easel, pencil, sketch", id="unknown"),
        pytest.param(request("pencil"), "provider_not_configured", "PENCIL_KEY", id="not configured"),
        pytest.param(
            request("easel", kind="edit", start_image_url="upload:x"),
            "unsupported_kind",
            "these can: sketch",
            id="kind",
        ),
        pytest.param(request({"provider": "easel", "model": "ink"}), "unsupported_model", "oil-1, chalk-1", id="model"),
        pytest.param(request("sketch", kind="variation"), "start_image_missing", "startImageUrl", id="no start"),
        pytest.param(
            request("sketch", kind="inpaint", start_image_url="upload:x"), "mask_missing", "maskImageUrl", id="no mask"
        ),
        pytest.param(request("sketch", size="wide"), "bad_size", "1024x1024", id="size"),
        pytest.param(request("easel", strict=True, seed=7), "adjustments_needed", "easel: seed dropped", id="strict"),
        pytest.param(
            request("sketch", strict=True, quality="high"),
            "adjustments_needed",
            "quality is not used",
            id="strict sketch",
        ),
    ],
)
async def test_a_request_that_cannot_be_served_says_what_can(
    tmp_path: Path, asked: JobRequest, code: str, named: str
) -> None:
    """Each refusal is a 422 with a code, and names what is allowed or what to set."""
    sketch = discovery.adapters_found().found["sketch"]
    known = {"easel": Painter(), "pencil": Painter("pencil", needs=("PENCIL_KEY",)), "sketch": sketch}
    async with bare_env(tmp_path, AI=Keys(OTHER_KEY="x")) as env:
        with pytest.raises(Invalid) as refused:
            planning.plan_items(env, asked, known)
    assert (refused.value.status, refused.value.code) == (422, code)
    assert named in refused.value.message


async def test_strict_lets_an_exact_request_pass(tmp_path: Path) -> None:
    """`strict` refuses adjustments, not jobs."""
    async with bare_env(tmp_path, AI=Keys()) as env:
        assert len(planning.plan_items(env, request("sketch", strict=True, size="512x512", variants=2))) == 2


async def test_providers_are_described_with_what_is_missing(tmp_path: Path) -> None:
    """`GET /api/providers` lists which providers exist, whether they are configured, and what each can do."""
    async with bare_env(tmp_path, AI=Keys()) as env:
        told = msgspec.to_builtins(discovery.describe(env))
    sketch = next(info for info in told if info["id"] == "sketch")
    assert (sketch["configured"], sketch["missing"], sketch["free"]) == (True, [], True)
    assert sketch["capabilities"][0]["kind"] == "generate" and sketch["capabilities"][0]["negativePrompt"] is True
    async with bare_env(tmp_path / "b", AI=Keys(A="1")) as env:
        assert discovery.missing(Painter(needs=("A", "B")), env) == ["B"]


def test_an_op_is_what_the_request_says_with_the_refined_prompt() -> None:
    """Building an op is pure: request and item in, op out."""
    asked = request("sketch", size="64x64", negative_prompt="red", quality="low")
    op = planning.build_op(asked, "sketch-1", 5, "a cat, refined")
    assert op == ImageOp(
        kind="generate",
        prompt="a cat, refined",
        model="sketch-1",
        size="64x64",
        quality="low",
        seed=5,
        negative_prompt="red",
    )


CALL = ImageOp(kind="generate", prompt="a cat")


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        pytest.param(None, Uncertain, "deadline", id="never answers"),
        pytest.param(KeyError("x"), Uncertain, "adapter_failed", id="breaks"),
        pytest.param(TimeoutError(), Uncertain, "deadline", id="its own timeout"),
        pytest.param(b"", VendorFailed, "provider_failed", id="no bytes"),
        pytest.param(Unavailable("busy", retry_after=1), Unavailable, "unavailable", id="unavailable"),
        pytest.param(Refused("no"), Refused, "refused", id="refused"),
        pytest.param(Invalid("too late", code="mask_missing"), Uncertain, "adapter_failed", id="invalid after sending"),
    ],
)
async def test_whatever_a_provider_does_is_one_call_and_one_known_error(
    tmp_path: Path, answer: Any, error: type[Exception], code: str
) -> None:
    """A call is made once, never retried here, and ends in the error tree."""
    painter = Painter(answer=answer)
    async with bare_env(tmp_path, settings=settings(tmp_path, VENDOR_SECONDS="0.2")) as env:
        with pytest.raises(error) as ended:
            await call_provider("easel", CALL, env, deaf, {"easel": painter})
    assert painter.calls == 1
    assert ended.value.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        pytest.param(None, Unavailable, "prepare_deadline", id="never ends"),
        pytest.param(TimeoutError(), Unavailable, "prepare_deadline", id="its own timeout"),
        pytest.param(KeyError("x"), Unavailable, "adapter_failed", id="breaks"),
        pytest.param(Unavailable("killed", code="image_child"), Unavailable, "image_child", id="no image child"),
        pytest.param(Invalid("no mask", code="mask_missing"), Invalid, "mask_missing", id="invalid"),
    ],
)
async def test_whatever_goes_wrong_in_preparing_is_one_known_error_and_no_call(
    tmp_path: Path, request_: Any, error: type[PicassoError], code: str
) -> None:
    """Preparing has a deadline of its own, is not repeated here, and leaves the vendor alone."""
    painter = Painter(request=request_)
    async with bare_env(tmp_path, AI=Keys()) as env:
        with pytest.raises(error) as ended:
            await router.prepare("easel", CALL, env, {"easel": painter}, seconds=0.2)
    assert (painter.prepared, painter.calls, ended.value.code) == (1, 0, code)


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        pytest.param(None, Unavailable, "deadline", id="never answers"),
        pytest.param(KeyError("x"), VendorFailed, "adapter_failed", id="breaks"),
    ],
)
async def test_a_free_provider_that_breaks_leaves_no_doubt(
    tmp_path: Path, answer: Any, error: type[Exception], code: str
) -> None:
    """Nothing can have been bought of it, so the call failed and nothing more."""
    painter = Painter(answer=answer)
    painter.free = True
    async with bare_env(tmp_path, settings=settings(tmp_path, VENDOR_SECONDS="0.2")) as env:
        with pytest.raises(error) as ended:
            await call_provider("easel", CALL, env, deaf, {"easel": painter})
    assert (painter.calls, ended.value.code) == (1, code)  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", [None, KeyError("x")], ids=["never ends", "breaks"])
async def test_what_had_come_before_a_call_broke_is_not_lost(tmp_path: Path, end: Any) -> None:
    """An image that is whole is the result; of anything less, as much as came is kept with the doubt."""
    whole = json.dumps({"data": [{"b64_json": base64.b64encode(picture(1)).decode()}]}).encode()

    class Breaks(Painter):
        came = b""

        async def send(self, request: Any, env: Env, on_progress: OnProgress) -> ProviderResult:
            arriving.get().extend(self.came)
            return await super().send(request, env, on_progress)

    painter = Breaks(answer=end)
    async with bare_env(tmp_path, settings=settings(tmp_path, VENDOR_SECONDS="0.2")) as env:
        painter.came = whole[:-4]
        result = await call_provider("easel", CALL, env, deaf, {"easel": painter})
        assert (result.data, result.mime) == (picture(1), "image/png")
        painter.came = whole[:-40]
        with pytest.raises(Uncertain) as ended:
            await call_provider("easel", CALL, env, deaf, {"easel": painter})
        assert ended.value.body == painter.came


async def test_preparing_may_take_longer_than_a_call(tmp_path: Path) -> None:
    """VENDOR_SECONDS is the vendor's time alone: on a busy machine, preparing may outlast it."""
    outlasted = settings(tmp_path, VENDOR_SECONDS="0.1")

    class Slow(Painter):
        async def prepare(self, op: ImageOp, env: Env) -> Any:
            await asyncio.sleep(0.3)
            return self.request

    async with bare_env(tmp_path, settings=outlasted, AI=Keys()) as env:
        result = await call_provider("easel", CALL, env, deaf, {"easel": Slow(answer=b"png")})
    assert result.data == b"png"


async def test_a_key_that_is_gone_since_is_no_doubt_about_a_bill(tmp_path: Path) -> None:
    """A job accepted before a restart without the key fails with the setting to set: nothing was sent, so nothing is
    charged."""
    painter = Painter(needs=("EASEL_KEY",), answer=b"png")
    async with bare_env(tmp_path, AI=Keys()) as env:
        with pytest.raises(Invalid, match="set EASEL_KEY") as ended:
            await router.prepare("easel", CALL, env, {"easel": painter})
    assert (painter.prepared, painter.calls, ended.value.code) == (0, 0, "provider_not_configured")


async def test_a_broken_adapter_leaves_its_traceback_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets a safe sentence, the log the traceback."""
    async with bare_env(tmp_path) as env:
        with caplog.at_level(logging.INFO), pytest.raises(Uncertain, match=r"^the adapter failed$"):
            await call_provider("easel", CALL, env, deaf, {"easel": Painter(answer=ZeroDivisionError("secret"))})
    broken = next(record for record in caplog.records if record.exc_info)
    assert broken.exc_info and broken.exc_info[0] is ZeroDivisionError
    lines = [vars(record)["fields"] for record in caplog.records if "fields" in vars(record)]
    assert [(line["step"], line["outcome"]) for line in lines] == [
        ("router.prepare", "ok"),
        ("router.send", "adapter_failed"),
    ]


async def test_a_good_answer_is_handed_on_as_it_came(tmp_path: Path) -> None:
    """The bytes and everything beside them reach the caller unchanged."""
    async with bare_env(tmp_path) as env:
        result = await call_provider("easel", CALL, env, deaf, {"easel": Painter(answer=b"png")})
    assert result == ProviderResult(data=b"png", mime="image/png")


async def test_a_sketch_comes_through_the_door(tmp_path: Path) -> None:
    """The built-in provider is called like any vendor."""
    op = ImageOp(kind="generate", prompt="a moon", size="64x64", seed=1)
    async with bare_env(tmp_path, AI=Keys()) as env:
        result = await call_provider("sketch", op, env, deaf)
    assert result.data.startswith(b"\x89PNG") and result.adjustments == []
