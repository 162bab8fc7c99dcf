"""What a reply to the person must say beside the model's own words, and what it may not claim."""

import re
from collections.abc import Sequence

import msgspec
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.messages.tool import ToolCall

from graphs.chat.brief import Brief
from graphs.chat.publish_consent import holds_back, mentions_publishing
from graphs.chat.results import Rendered, Saved
from graphs.chat.state import MOST_CALLS, ChatState
from graphs.chat.tools import TASTE_KEYS
from tools.models.normalize import ALL_MARKS, masked, quotations

LISTED, MENTION = re.compile(r"^(\d{1,4})\. ", re.MULTILINE), re.compile(r"\bimage (\d{1,4})\b")
SENTENCE = re.compile(r"[^\n.!?。！？]+[\n.!?。！？]*")
QUESTION = ("?", "？")
CLAIM = re.compile(
    r"\bpublished|\b(?:is|are|now|went|gone|goes|it's|page's) (?:now |already )?(?:public|live|online)\b|\blive now\b|"
    r"veröffentlicht\b|publiziert\b|ist (?:jetzt |nun )?(?:online|live|öffentlich)|publiée?s?\b|(?:mise?|est) en ligne|"
    r"publicad[oa]|pubblicat[oa]|gepubliceerd|publicerad|publisert|udgivet|offentliggjort|opublikowa|zveřejněn|publikován|"
    r"опубликован|опубліковано|yay[ıi]n?m?land[ıi]|公開(?:され|しました|済)|发布了|已发布|已發佈|게시(?:했|되)|공개(?:했|되)|"
    r"تم (?:ال)?نشر|प्रकाशित (?:हो|कर दि)"
)
DENIED = re.compile(
    r"\b(?:not|nothing|never|cannot|can't|isn't|hasn't|haven't|before|once|until|if|when|be|nicht|nichts|noch|wenn|werden|"
    r"pas|rien|quand|no|nada|cuando|non|niente|quando|não|niet|nog|inte|ikke|nie|ne|не|еще|ещё)\b[^.!?]*$|n't\b[^.!?]*$"
)
"""Before the claim: it is denied, or only spoken of."""
OFFER = "Everything is filled. Shall I publish it? Answer yes, or press Approve."
OFFER_AGAIN = "What is public does not show the latest changes yet. Shall I publish them? Answer yes, or press Approve."
HELD = "You approved, but your words say otherwise, so nothing was published. Say “publish”, or approve without words."
NOT_PUBLISHED = "Correction: nothing was published. The page is not public."
NOT_UPDATED = "Correction: nothing was published just now. What is public does not show the latest changes."


def composed(state: ChatState, messages: Sequence[AnyMessage], now: Brief, *, rules: bool) -> tuple[str, bool]:
    """The model's last words with what must not be missing from a reply, and whether a mere yes now publishes.

    Added are why the model stopped, the link, the offer to publish, that it went by a remembered liking, and, unless
    fixed `rules` speak, that a publication it tells of did not happen. A yes publishes if the offer is the one question
    of the reply.
    """
    last = messages[-1] if messages else None
    said = [last.text.strip()] if isinstance(last, AIMessage) and not last.tool_calls else []
    if halted := state.get("halted"):
        said.append(halted)
    elif pending(messages):
        said.append(f"I stopped after {MOST_CALLS} steps in one go. Tell me to go on, and I do the rest.")
    text, offered = "\n".join(filter(None, said)) or "Done.", False
    done = [message for message in messages if isinstance(message, ToolMessage) and message.status != "error"]
    if (used := used_likings(state["said"], done, now)) and "remember" not in text:
        text += f"\nI went by what I remember of your taste: {', '.join(used)}."
    published = [msgspec.json.decode(str(each.text), type=Rendered) for each in done if each.name == "render_artifact"]
    if published:
        link, ready = published[-1].link, published[-1].ready
        if link not in text:
            text += f"\nThe page is {'public' if ready else 'being made, and then public'} at {link}"
        return text, False
    stale = now.changed or not now.link
    if stale and not rules and claims_publication(text):
        text += f"\n{NOT_UPDATED if now.link else NOT_PUBLISHED}"
    held = holds_back(state["said"])
    if held and state.get("pressed"):
        text += f"\n{HELD}"
    elif (
        halted
        or pending(messages)
        or (held and "?" not in state["said"] and (mentions_publishing(state["said"]) or not done))
    ):
        # Who is told to say “go on” means that, and who has just refused is not asked again.
        pass
    elif stale and not now.missing:
        asked = [part for part in sentences(text) if part.endswith(QUESTION)]
        own = len(asked) == 1 and sentences(text)[-1] == asked[0] and mentions_publishing(asked[0])
        if not own:
            text += f"\n{OFFER_AGAIN if now.link else OFFER}"
        offered = own or not asked
    return text, offered


def claims_publication(text: str) -> bool:
    """Whether some sentence tells that the page was made public, or has its link."""
    plain = (part for part in sentences(text) if not part.endswith(QUESTION))
    found = ((part, CLAIM.search(part)) for part in plain)
    told = any(claim and not DENIED.search(part[: claim.start()]) for part, claim in found)
    return told or "/public/artifact/" in text


def sentences(text: str) -> list[str]:
    """The sentences in lower case, without what they quote."""
    plain = masked(text, quotations(text, ALL_MARKS), " ")
    return [part for found in SENTENCE.findall(plain.lower()) if (part := found.strip())]


def pending(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """The calls of the model's last message that have no result yet."""
    done = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    answers = [message for message in messages if isinstance(message, AIMessage)]
    return [call for call in answers[-1].tool_calls if call["id"] not in done] if answers else []


def used_likings(said: str, done: Sequence[ToolMessage], now: Brief) -> list[str]:
    """The remembered likings that became values in this turn without the person naming them: “theme dark”."""
    results = [
        msgspec.json.decode(str(message.text), type=Saved) for message in done if message.name == "save_configuration"
    ]
    values = {key: value for each in results for key, value in each.saved.items()}
    return [
        f"{kind} {values[key]}"
        for key, kind in TASTE_KEYS.items()
        if values.get(key) and values[key] == now.taste.get(kind) and values[key].lower() not in said.lower()
    ]


def mentioned(text: str, known: int) -> list[int]:
    """The numbers of the images that a reply lists, in its order; one alone is no list.

    Beside lines that open with a number nothing counts: the prompt of an image may well speak of “image 4”.
    """
    numbers = [int(found) for found in LISTED.findall(text) or MENTION.findall(text)]
    shown = list(dict.fromkeys(number for number in numbers if 1 <= number <= known))
    return shown if len(shown) > 1 else []
