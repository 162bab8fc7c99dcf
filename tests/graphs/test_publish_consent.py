"""What counts as an approval of a publication, in which words, and what only mentions it."""

import pytest

from graphs.chat.approval_words import LANGUAGES
from graphs.chat.publish_consent import asks_to_publish, holds_back, is_yes, mentions_publishing
from tests.support.growth import grows_with_its_input

ASKING = """
render | publish | Publish it! | please publish | OK, publish the page now | Great. Publish. | make it public
put it online please | let's go live | can you publish it? | yes, render | publish now, thanks
looks good, publish | go ahead and publish | render it again | ship it | plz publish
publish it and give me the link | could you please publish it? | would you please publish it?
Yes — publish it. | sure, publish | ✅ publish | publish it :) | Bitte veröffentlichen
Ja, bitte veröffentlichen! | die Seite bitte veröffentlichen | veroeffentlichen
Kannst du die Seite bitte veröffentlichen? | Stell sie online | publiez la page | Publie la page, s'il te plaît
Oui, publie-la | mettez la page en ligne | publica la página | si, publicala por favor | sì, pubblicala
sim, publique | ja, publiceer maar | ja, publicera sidan | ja tak, udgiv den | ja, publiser
kyllä, julkaise sivu | tak, opublikuj stronę | ano, zveřejni to | áno, zverejni | igen, tedd közzé | da, publică
objavi, molim | ναι, δημοσίευσέ το | yayınla lütfen | yayinla | опубликуй страницу, пожалуйста | так, опублікуй
публикувай | はい、公開してください | 公開をお願いします | 네, 게시해 주세요 | 好的，发布吧 | 請發佈
نعم، انشرها | כן, פרסם | بله منتشر کن | हाँ, प्रकाशित करें | হ্যাঁ, প্রকাশ করুন | ya, terbitkan | vâng, đăng đi
ใช่ เผยแพร่เลย | jah, avalda | jā, publicē | taip, publikuok
"""
NOT_ASKING = """
don't publish | do not render yet | title: publish | call it Read and Publish | what happens if I publish?
publish? | should I publish it? | how do I publish | when it is ready, publish it | the title is Publish it
title: "publish" | "publish" | publisher | publish later | wait, do not publish | hello
After lunch, publish it | publish or perish | share it with my client | publish? no way
hmm, publish... not sure | publish it. No, wait | would you publish this? | Publish it. Just kidding
publish it? no | not yet, publish tomorrow | what happens when I publish it | publish it /s | can we publish it?
published | I published it | publish no | 👎 publish | publish it 🤔 | publish (not) | yes | ok | 👍 | approved
title: Autumn, then publish it | Not the red one. Publish it. | pick for me and publish it
publish it and share it with my client | nicht veröffentlichen | bitte noch nicht veröffentlichen
ne publiez pas | no publiques | non pubblicare | não publique | niet publiceren | inte publicera | ikke udgiv
ei julkaista | nie publikuj | nezveřejňuj | ne, ne tedd közzé | nu publica | yayınlama | не публикуй
не публікуй | 公開しないで | 게시하지 마세요 | 不要发布 | 可以发布吗 | لا تنشر | אל תפרסם | منتشر نکن
प्रकाशित न करें | jangan terbitkan | đừng đăng | ไม่เผยแพร่ | soll ich veröffentlichen?
wenn alles fertig ist, veröffentlichen | si tout est prêt, publiez
"""
YES = """
yes | Yes, go ahead | Do it | do it! | yes please. | ok | Sure, go ahead | y | approved | Approve. | proceed
go for it | LGTM | 👍 | 👍🏽 | ✅ | ok 👍 | looks good | please do | ja | Ja, bitte | mach das | Klar!
genehmigt | oui, vas-y | d'accord | c'est bon | sí, claro | si | vale | adelante | sì | procedi pure | sim, pode
pode ser | doe maar | ja, graag | kör på | gør det | kjør på | kyllä kiitos | tak, proszę | ano, prosím
да, давай | так, будь ласка | evet | はい、お願いします | 네 | 好的 | 可以 | نعم | תודה, כן | हाँ जी | igen | da
ναι | ya | vâng | ใช่ครับ
"""
NO_YES = """
yes but | yes? | yes... | no | not yet | yes, change the title | yesterday | go away | do it later | thanks
great | perfect, thank you | ja aber | ja, warte | yes no | do | maybe | use image 2 | title: yes | oui mais non
ok? | 👎 | しない
"""
REFUSING = """
should I publish it? | 发布吗？
don't publish | Publish it. Just kidding | publish it? no | not yet | no | wait | publish tomorrow | nein | mañana
bitte noch nicht | ne publiez pas | não publique | 不要 | まだ | 게시하지마세요 | нет | لا | yayınlama | publish: no
"""


def lines(table: str) -> list[str]:
    return [said for line in table.strip().split("\n") for said in line.split(" | ")]


def test_a_request_to_publish_is_known_in_every_language() -> None:
    """Each of these is one; before it, lines may give values."""
    for said in lines(ASKING):
        assert asks_to_publish(said) and is_yes(said) and not holds_back(said), said
        assert asks_to_publish(f"title: No Return\nuse image 2 as hero\n{said}") or "?" in said, said
    for before in ("Bob wrote:", "I am not sure", "If all agree,", "Shall we?", "publish or not"):
        assert not asks_to_publish(f"{before}\npublish it"), before


def test_what_only_speaks_of_publishing_is_no_request() -> None:
    """A title, a question, a condition, a joke, a no, one unknown word, and a mere yes."""
    for said in lines(NOT_ASKING):
        assert not asks_to_publish(said), said


def test_a_short_yes_is_one_in_any_language() -> None:
    """It answers an offer; without the word “publish” it is no request of its own."""
    for said in lines(YES):
        assert is_yes(said) and not asks_to_publish(said), said
    for said in [*lines(NO_YES), "", "yes " * 30]:
        assert not is_yes(said), said


def test_words_that_refuse_are_known() -> None:
    """They count wherever they stand, but in a value or a quotation."""
    for said in lines(REFUSING):
        assert holds_back(said), said
    for said in ("title: No Return", 'call it "Not Now"', "I like it", "nice", "theme: dark", "好的，没问题", "go"):
        assert not holds_back(said), said
    assert mentions_publishing("should I publish it?") and not mentions_publishing("title: Autumn")


def test_no_word_of_an_approval_is_one_that_refuses() -> None:
    """Beside an English “publish” no refusal of any language is a mere courtesy of another; and alone none is a yes."""
    for language, words in LANGUAGES.items():
        for refused in words.hold.replace("*", "").split(","):
            assert not is_yes(refused) and not asks_to_publish(f"{refused} publish"), (language, refused)


@pytest.mark.parametrize(
    "hostile",
    ["this page ", "right now ", "'publish' ", " \t", "ok, ", "and publish it ", "“", "yes ", "publish\n", "a:\n"],
)
def test_a_request_is_read_at_once(hostile: str) -> None:
    """The work on a message of 4,000 characters grows as its length does."""
    text = f"{hostile * 4000}"[:3999]
    for reads in (asks_to_publish, is_yes, holds_back, mentions_publishing):
        assert grows_with_its_input(reads, text)
