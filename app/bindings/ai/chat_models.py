"""The vendors' chat models behind LangChain's interface, with this application's errors.

Only `app/bindings/ai/registry.py` imports this module, and only when a model is asked for: LangChain's packages and
the SDKs take seconds. A call is one HTTP request that is answered with words. It fails as `tools.env.AI` says, and
the answer carries in `response_metadata` its `request_id` and, when the vendor would not answer, why: `refused`.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx
import openai
from google.genai.errors import APIError as GoogleError
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

from adapters.http_failures import Cause, doubting, failure, http_cause, lost, openai_code, request_id_of, retry_after
from tools.errors import PicassoError, Refused, Uncertain, VendorError, VendorFailed

log = logging.getLogger("picasso.chats")
# It warns of empty answers and of words of a schema that are left out; both are looked after here.
logging.getLogger("langchain_google_genai").setLevel(logging.ERROR)

VENDOR = "the model's vendor"
CAUSES: dict[str, Cause] = {
    "content_filter": "refused",
    "ResponsibleAIPolicyViolation": "refused",
    "content_policy_violation": "refused",
    "moderation_blocked": "refused",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    # Workers AI's: moderation, and the quota of the day.
    "3030": "refused",
    "3036": "quota",
}
"""What the codes of an error mean."""
BLOCKED = frozenset(
    {"content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST", "IMAGE_SAFETY", "LANGUAGE"}
)
"""Reasons for the end of an answer that mean a refusal."""
REQUEST_IDS = ("x-request-id", "cf-ray")


def _as_typed(item: Any) -> Any:
    """An item of a conversation as the Responses API types it: what the model said is complete and has its id, or is
    words alone."""
    if not isinstance(item, dict) or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    if "id" in item:
        return {"status": "completed", **item}
    return {**item, "content": "".join(str(part.get("text") or part.get("refusal") or "") for part in item["content"])}


class OpenAIChat(ChatOpenAI):
    """OpenAI, Workers AI, and every other server that speaks OpenAI's chat completions."""

    trusted: bool = True
    """Whether an outage that the server answers means that nothing was done (`adapters/http_failures.py`)."""

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if "input" in payload:
            payload["input"] = [_as_typed(item) for item in payload["input"]]
        if "input" in payload and "tools" in payload:
            # Left out it would be taken for true, and ours have arguments that may be left out.
            tools = payload["tools"]
            payload["tools"] = [{"strict": False, **tool} if tool.get("type") == "function" else tool for tool in tools]
        return payload

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with doubting(self.trusted), _translated(openai_error):
            try:
                result = await super()._agenerate(messages, stop, run_manager, **kwargs)
            except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as cut:
                if cut.completion is None:
                    raise
                # The SDK will not parse an answer that was cut short; it is an answer nevertheless, and billed.
                result = self._create_chat_result(cut.completion)
            for generation in result.generations:
                info = generation.generation_info = dict(generation.generation_info or {})
                info["request_id"] = request_id_of(info.pop("headers", {}), *REQUEST_IDS)
                info["refused"] = _declined(generation.message) or _blocked(info)
            return result

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with doubting(self.trusted), _translated(openai_error):
            ended = False
            async for chunk in self._stream_with_usage(messages, stop, run_manager, **kwargs):
                # Chunks are added up, words of equal name one after the other: each is noted once, or not at all.
                info = chunk.generation_info = dict(chunk.generation_info or {})
                headers = info.pop("headers", None) or chunk.message.response_metadata.pop("headers", None)
                refused = _declined(chunk.message) or _blocked(info)
                _note(info, request_id_of(headers or {}, *REQUEST_IDS), refused)
                ended |= _is_last(chunk)
                yield chunk
            _check_ended(ended)

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        # LangChain leaves a refusal out of a stream.
        match chunk:
            case {"choices": [{"delta": {"refusal": str(words)}}, *_]} if made is not None and words:
                made.message.additional_kwargs["refusal"] = words
        return made

    async def _stream_with_usage(self, *asked: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        """The stream with its count of tokens; without the count from a server that does not accept being asked for it.

        Such an answer is free, so asking again within the same call costs nothing; the model remembers it.
        """
        try:
            async for chunk in super()._astream(*asked, **kwargs):
                yield chunk
            return
        except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
            if not self.stream_usage or "stream_options" not in f"{refused.message} {refused.body}":
                raise
        self.stream_usage = False
        async for chunk in super()._astream(*asked, **kwargs):
            yield chunk


class GeminiChat(ChatGoogleGenerativeAI):
    """Google's Gemini API."""

    trusted: bool = True
    """Whether an outage that the server answers means that nothing was done."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with doubting(self.trusted), _translated(google_error):
            result = await super()._agenerate(messages, stop, run_manager, **kwargs)
            feedback = (result.llm_output or {}).get("prompt_feedback") or {}
            for generation in result.generations:
                info = generation.generation_info = dict(generation.generation_info or {})
                info["refused"] = _plain(feedback.get("block_reason")) or _blocked(info)
            return result

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with doubting(self.trusted), _translated(google_error):
            ended = False
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                info = chunk.generation_info = dict(chunk.generation_info or {})
                feedback = chunk.message.response_metadata.pop("prompt_feedback", None) or {}
                refused = _plain(feedback.get("block_reason")) or _blocked(info)
                _note(info, None, refused)
                ended |= _is_last(chunk) or refused is not None
                yield chunk
            _check_ended(ended)


def _note(info: dict[str, Any], request_id: str | None, refused: str | None) -> None:
    noted = {"request_id": request_id, "refused": refused}
    info.update({name: value for name, value in noted.items() if value is not None})


def _is_last(chunk: ChatGenerationChunk) -> bool:
    message = chunk.message
    last = isinstance(message, AIMessageChunk) and message.chunk_position == "last"
    return last or "finish_reason" in (chunk.generation_info or {})


def _check_ended(ended: bool) -> None:
    """Fails: Uncertain, when a stream stopped without its last chunk: half an answer is none."""
    if not ended:
        raise Uncertain("the model's answer broke off", code="broke_off")


@contextlib.contextmanager
def _translated(translate: Callable[[Exception], VendorError]) -> Iterator[None]:
    try:
        yield
    except PicassoError:
        raise
    except Exception as error:
        # Whatever else LangChain or an SDK raises must end as one of our errors, or the ledger would not know.
        raise translate(error) from error


def openai_error(error: Exception) -> VendorError:
    """What an error of the OpenAI SDK, or of LangChain around it, says about the call."""
    if isinstance(error, openai.APIStatusError):
        code = openai_code(error.code, error.status_code, error.message)
        match error.body:
            # Cloudflare's has a list, of which the first counts.
            case {"errors": [{"code": first}, *_]} | {"type": str(first)} if code is None:
                code = str(first)
        return _answered(error.status_code, code, error.response.headers, CAUSES.get(code or ""))
    if isinstance(error, openai.APIConnectionError):
        return lost(error, VENDOR)
    if isinstance(error, openai.ContentFilterFinishReasonError):
        return Refused(f"{VENDOR} refused this request", provider_code="content_filter", provider_status=200)
    return _unreadable(error)


def google_error(error: Exception) -> VendorError:
    """What an error of Google's SDK, or of LangChain around it, says about the call."""
    cause = error if isinstance(error, GoogleError) else error.__cause__
    if isinstance(cause, GoogleError):
        headers = cause.response.headers if isinstance(cause.response, httpx.Response) else {}
        spent = cause.code == 429 and "PerDay" in str(cause.details)
        return _answered(cause.code, cause.status, headers, "quota" if spent else None)
    return lost(error, VENDOR) if http_cause(error) else _unreadable(error)


def _answered(status: int, code: str | None, headers: Mapping[str, str], named: Cause | None) -> VendorError:
    wait, request_id = retry_after(headers), request_id_of(headers, *REQUEST_IDS)
    return failure(VENDOR, status, named, retry_after=wait, provider_code=code, request_id=request_id)


def _unreadable(error: Exception) -> VendorError:
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError | openai.APIError):
        return VendorFailed(f"{VENDOR} answered something that cannot be read", failure="invalid")
    log.exception("a chat model failed", exc_info=error)
    return Uncertain("the call to the model failed", code="model_failed")


def _declined(message: BaseMessage) -> str | None:
    return "refusal" if message.additional_kwargs.get("refusal") else None


def _plain(reason: Any) -> str | None:
    """The word of an enumeration's member, which prints its class as well."""
    return str(reason).rpartition(".")[2] if reason else None


def _blocked(info: Mapping[str, Any]) -> str | None:
    reason = str(info.get("finish_reason"))
    return reason if reason in BLOCKED else None
