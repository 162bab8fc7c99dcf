"""Whether a message asks to publish: what counts as a request, and what only mentions it."""

import pytest

from graphs.chat.publish_consent import asks_to_publish
from tests.support.growth import grows_with_its_input

ASKING = [
    "render", "publish", "Publish it!", "please publish", "OK, publish the page now", "Great. Publish.",
    "title: Autumn, then publish it", "set the title to X and publish it", "make it public", "put it online please",
    "let's go live", "can you publish it?", "yes, render", "publish now, thanks", "looks good, publish",
    "pick for me and publish it", "go ahead and publish", "render it again", "ship it", "plz publish",
    "title: After the Storm, subtitle: Before the Calm, use image 1 and publish it",
    "call it After Dark and publish it",
    "Not the red one. Publish it.", "publish it and give me the link", "publish it and share it with my client",
    "title: Autumn, and publish it and send me the link please", "could you please publish it?",
    "would you please publish it?",
    "title: No Return, then publish it", "set the title to When Leaves Fall and publish it",
]  # fmt: skip
NOT_ASKING = [
    "don't publish", "do not render yet", "title: publish", "call it Read and Publish", "what happens if I publish?",
    "should I publish?", "how do I publish", "when it is ready, publish it", "the title is Publish it",
    'title: "publish"', 'set the title to "Now. Publish it"', "publisher", "I wonder about rendering",
    "don't render and publish it", "publish later", "wait, do not publish", "hello", "use image 2 as hero",
    "After lunch, publish it", "call it Autumn, After that publish it", "call it Autumn when we agree and publish it",
    "title: Autumn, but not before noon publish it", "title: Autumn. If all agree, publish it", "set it to No, publish",
    "title: After the Storm, if all is well publish it", "share it with my client", "send it to everyone",
    "publsh it", "give me the link", "share it with my client and give me the link",
    "should we publish it and send it to them",
    "publish?", "publish? no way", "hmm, publish... not sure", "publish it. No, wait", "would you publish this?",
    "publish or perish is my title", "never publish", "publish it if all is filled", "yes", "ok", "go on",
]  # fmt: skip


@pytest.mark.parametrize("said", ASKING)
def test_a_request_to_publish_is_one(said: str) -> None:
    """“Render” or “publish”, phrased as a request, is consent."""
    assert asks_to_publish(said)


@pytest.mark.parametrize("said", NOT_ASKING)
def test_what_only_speaks_of_publishing_is_no_request(said: str) -> None:
    """A title, a question, a condition, a no and a mere yes publish nothing."""
    assert not asks_to_publish(said)


@pytest.mark.parametrize(
    "hostile", ["this page ", "right now ", "'publish' ", " \t", "ok, ", "and publish it ", "“", "it "]
)
def test_a_request_is_read_at_once(hostile: str) -> None:
    """The work on a message of 4,000 characters grows as its length does: matching does not backtrack."""
    for opening in ("", "publish ", "make this page "):
        assert grows_with_its_input(lambda text: asks_to_publish(text + "x"), f"{opening}{hostile * 4000}"[:3999])
