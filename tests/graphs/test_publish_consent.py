"""Whether a message asks to publish: what counts as a request, and what only mentions it."""

import pytest

from graphs.chat.publish_consent import asks_to_publish, is_yes
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
    "Bitte veröffentlichen", "publiez la page", "Publie la page, s'il te plaît", "die Seite bitte veröffentlichen",
    "Ja, bitte veröffentlichen!", "Kannst du die Seite bitte veröffentlichen?", "Titel: Herbst, dann veröffentlichen",
    "titre : Automne et publie-la", "Oui, publiez", "mettez la page en ligne", "publica la página",
    "pubblica la pagina", "publícala por favor", "publique a página", "publiceer de pagina", 
    "опубликуй страницу, пожалуйста", "发布吧",
    "公開してください", "opublikuj stronę", "yayınla lütfen",
]  # fmt: skip
NOT_ASKING = [
    "don't publish",
    "do not render yet",
    "title: publish",
    "call it Read and Publish",
    "what happens if I publish?",
    "should I publish?",
    "how do I publish",
    "when it is ready, publish it",
    "the title is Publish it",
    'title: "publish"',
    'set the title to "Now. Publish it"',
    "publisher",
    "I wonder about rendering",
    "don't render and publish it",
    "publish later",
    "wait, do not publish",
    "hello",
    "use image 2 as hero",
    "After lunch, publish it",
    "call it Autumn, After that publish it",
    "call it Autumn when we agree and publish it",
    "title: Autumn, but not before noon publish it",
    "title: Autumn. If all agree, publish it",
    "set it to No, publish",
    "title: After the Storm, if all is well publish it",
    "share it with my client",
    "send it to everyone",
    "publsh it",
    "give me the link",
    "share it with my client and give me the link",
    "should we publish it and send it to them",
    "publish?",
    "publish? no way",
    "hmm, publish... not sure",
    "publish it. No, wait",
    "would you publish this?",
    "publish or perish is my title",
    "never publish",
    "publish it if all is filled",
    "yes",
    "ok",
    "go on",
    "nicht veröffentlichen",
    "bitte noch nicht veröffentlichen",
    "ne publiez pas",
    "no publiques",
    "не публикуй",
    "wenn alles fertig ist, veröffentlichen",
    "si tout est prêt, publiez",
    "Titel: Veröffentlichen",
    "veröffentlichen?",
    "soll ich veröffentlichen?",
    "Veröffentlichen. Nein, warte",
    "不要发布",
    "公開しないで",
    "yes, go ahead",
    "ja",
]
YES = [
    "yes",
    "Yes, go ahead",
    "Do it",
    "do it!",
    "yes please.",
    "ok",
    "Sure, go ahead",
    "ja",
    "Ja, bitte",
    "mach das",
    "Klar!",
    "oui, vas-y",
    "d'accord",
    "sí, claro",
    "vale",
    "sì",
    "да, давай",
    "sim, pode",
    "evet",
    "はい、お願いします",
    "好的",
    "네",
    "👍",
    "y",
]
NO_YES = [
    "yes but", "yes?", "yes...", "no", "not yet", "yes, change the title", "yesterday", "go away", "do it later",
    "thanks", "great", "perfect, thank you", "ja aber", "ja, warte", "yes no", "do", "maybe", "use image 2",
    "title: yes", "", "oui mais non", "yes " * 30,
]  # fmt: skip


@pytest.mark.parametrize("said", ASKING)
def test_a_request_to_publish_is_one(said: str) -> None:
    """“Render” or “publish”, phrased as a request, is consent."""
    assert asks_to_publish(said)


@pytest.mark.parametrize("said", NOT_ASKING)
def test_what_only_speaks_of_publishing_is_no_request(said: str) -> None:
    """A title, a question, a condition, a no and a mere yes publish nothing."""
    assert not asks_to_publish(said)


@pytest.mark.parametrize("said", YES)
def test_a_short_yes_is_one_in_any_language(said: str) -> None:
    """It is an answer to an offer; without the word “publish” it is no request of its own."""
    assert is_yes(said)
    assert not asks_to_publish(said)


@pytest.mark.parametrize("said", NO_YES)
def test_what_says_more_than_yes_is_none(said: str) -> None:
    """A doubt, a question, a wish or a no beside it."""
    assert not is_yes(said)


@pytest.mark.parametrize(
    "hostile",
    [
        "this page ",
        "right now ",
        "'publish' ",
        " \t",
        "ok, ",
        "and publish it ",
        "“",
        "it ",
        "yes ",
        "die seite ",
        "ja, ",
    ],
)
def test_a_request_is_read_at_once(hostile: str) -> None:
    """The work on a message of 4,000 characters grows as its length does: matching does not backtrack."""
    for opening in ("", "publish ", "make this page "):
        text = f"{opening}{hostile * 4000}"[:3999]
        assert grows_with_its_input(lambda said: asks_to_publish(said + "x"), text)
        assert grows_with_its_input(lambda said: is_yes(said + "x"), text)
