"""OpenAI's Responses API as a chat model: each part of an answer is an item of its own, and the last event has all
items."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.internet import Answer, Received, Reply
from tests.support.vendors.chat import Usage
from tests.support.vendors.openai_chat import first_wrong_type


class OpenAIResponses:
    name = "openai_responses"
    prefix = "/openai/v1/responses"
    rates = (2.0, 8.0)

    def reply(self, call: Received, answer: Answer) -> Reply:
        from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

        if wrong := first_wrong_type(ResponseCreateParamsStreaming, call.body):
            fault = {"message": f"Invalid request: {wrong}", "type": "invalid_request_error"}
            return Reply(json.dumps({"error": fault}).encode(), 400)
        outputs = {item["call_id"] for item in call.body["input"] if item.get("type") == "function_call_output"}
        called = {item["call_id"] for item in call.body["input"] if item.get("type") == "function_call"}
        if outputs != called:
            error = {"message": "No tool output found for function call", "type": "invalid_request_error"}
            return Reply(json.dumps({"error": error}).encode(), 400)
        usage = Usage(len(call.raw) // 4, len(answer.text or "") // 4 + 1)
        call.bill = usage.cost(*self.rates)
        events = enumerate(_events(call, answer, usage))
        pieces = [f"event: {e['type']}\ndata: {json.dumps({**e, 'sequence_number': n})}\n\n" for n, e in events]
        return Reply(mime="text/event-stream", chunks=[(0.0, piece.encode()) for piece in pieces])


def _events(call: Received, answer: Answer, usage: Usage) -> Iterator[dict[str, Any]]:
    counts = {
        "input_tokens": usage.read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.read + usage.written,
    }
    about = {
        "id": f"resp-{call.id}", "object": "response", "created_at": 1, "model": call.body["model"], "tools": [],
        "tool_choice": "auto", "parallel_tool_calls": True, "error": None, "incomplete_details": None,
        "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip
    output: list[dict[str, Any]] = []
    yield {"type": "response.created", "response": {**about, "status": "in_progress", "output": []}}
    if answer.text:
        item = {"id": f"msg-{call.id}", "type": "message", "role": "assistant"}
        yield {"type": "response.output_item.added", "output_index": 0,
               "item": {**item, "status": "in_progress", "content": []}}  # fmt: skip
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **where, "part": empty}
        for word in re.findall(r"\S+\s*", answer.text):
            yield {"type": "response.output_text.delta", **where, "delta": word, "logprobs": []}
        yield {"type": "response.output_text.done", **where, "text": answer.text, "logprobs": []}
        output.append({**item, "status": "completed", "content": [{**empty, "text": answer.text}]})
        yield {"type": "response.output_item.done", "output_index": 0, "item": output[0]}
    for name, args in answer.calls:
        at, text = len(output), json.dumps(args)
        called = {"id": f"fc-{call.id}-{at}", "type": "function_call", "call_id": f"call-{call.id}-{at}", "name": name}
        yield {"type": "response.output_item.added", "output_index": at,
               "item": {**called, "arguments": "", "status": "in_progress"}}  # fmt: skip
        for piece in re.findall(r"(?s).{1,7}", text):
            yield {"type": "response.function_call_arguments.delta", "item_id": called["id"], "output_index": at,
                   "delta": piece}  # fmt: skip
        yield {"type": "response.function_call_arguments.done", "item_id": called["id"], "output_index": at,
               "arguments": text, "name": name}  # fmt: skip
        output.append({**called, "arguments": text, "status": "completed"})
        yield {"type": "response.output_item.done", "output_index": at, "item": output[-1]}
    yield {
        "type": "response.completed",
        "response": {**about, "status": "completed", "output": output, "usage": counts},
    }


vendor = OpenAIResponses()
