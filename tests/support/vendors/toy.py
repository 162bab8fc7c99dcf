"""The toy vendor: the picture depends on the seed alone; for prompts that open with "twins" it is always the same."""

from tests.support.internet import Answer, Received, Reply, picture

STATUS = {"refuse": 400, "rate": 429, "quota": 402, "error": 503}
PRICE_USD = 0.04


class Toy:
    name = "toy"
    prefix = "/toy"

    def reply(self, call: Received, answer: Answer) -> Reply:
        if answer.fault in STATUS:
            return Reply(status=STATUS[answer.fault], mime="text/plain")
        call.bill = PRICE_USD
        if answer.fault == "empty":
            return Reply(b"{}", mime="application/json")
        call.sent = answer.image or picture(0 if call.body["prompt"].startswith("twins") else call.body["seed"])
        if answer.fault == "garbage":
            call.sent = b"these are not the bytes of an image"
        return Reply(call.sent, mime="image/png")


vendor = Toy()
