"""Workers AI's chat completions: the same as OpenAI's, except for the errors and the limit of the answer's length."""

import json

from tests.support.internet import Answer, Received, Reply
from tests.support.vendors.openai_chat import OpenAIChat

ERRORS = {"rate": (429, 3040), "quota": (429, 3036), "refuse": (400, 3030), "error": (500, 3043)}


class WorkersChat(OpenAIChat):
    name = "workers_chat"
    prefix = "/cloudflare/client/v4/accounts/ACCOUNT/ai/v1"
    rates = (0.3, 2.0)

    def error(self, call: Received, answer: Answer) -> Reply | None:
        if answer.fault in ERRORS:
            status, code = ERRORS[answer.fault]
            envelope = {"errors": [{"message": "AiError", "code": code}], "success": False, "result": {}}
            return Reply(json.dumps(envelope).encode(), status)
        assert call.body["max_tokens"] > 0
        return super().error(call, answer)


vendor = WorkersChat()
