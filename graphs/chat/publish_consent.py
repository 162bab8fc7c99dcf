"""Whether a person's own words approve a publication. Nothing that a model says counts.

It is better to ask once more than to publish what nobody asked for. An approval is a short utterance all of whose words
are known, in one language (`approval_words.py`) and English: a request to publish, or a yes, with courtesies beside it.
Whatever else is said, be it one unknown word, approves nothing.
"""

import enum
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from graphs.chat.approval_words import ALWAYS, LANGUAGES, Words
from tools.models.normalize import ALL_MARKS, even, masked, quotations

LONGEST_APPROVAL = 100
"""Characters."""
QUESTIONS = "?؟"
HESITATION = re.compile(r"\.\.|。。")
"""Also in one character, which normalisation divides."""
SEPARATORS = frozenset(".,!:;-‐‑–—'’·¡¿¿、。！，；：،؛؟?？।~")
"""Marks between words that say nothing. What is quoted or in brackets is none of the person's own words."""
SMILES = re.compile(r"[:=][-o]?[)D]")
VALUE = re.compile(r"[:=].*")
"""What a line gives a placeholder: “title: No Return” refuses nothing."""
LEADS_ON = re.compile(r"[:,…?？؟]$", re.MULTILINE)
"""After such a line the next is no utterance of its own: “Bob wrote:”."""

Token = str
Phrase = tuple[Token, ...]
Phrases = Mapping[Token, Sequence[tuple[Phrase, "Role"]]]
"""By their first words."""


class Role(enum.Flag):
    """What a phrase does in an approval."""

    BESIDE = 0
    YES = enum.auto()
    PUBLISH = enum.auto()
    ASK = enum.auto()
    OWN = enum.auto()
    """Says yes or asks to publish in another language than English."""


def asks_to_publish(text: str) -> bool:
    """Whether the text, or the last line of one that only gives values before, is a request to publish the page now."""
    if any(Role.PUBLISH in roles for roles in approvals(text)):
        return True
    before, _, last = even(text).rpartition("\n")
    if not before or not any(Role.PUBLISH in roles for roles in approvals(last)):
        return False
    return not (LEADS_ON.search(before) or mentions_publishing(before) or holds_back(before))


def is_yes(text: str) -> bool:
    """Whether the text is a yes, or a request to publish, and nothing else: an answer to the offer to publish."""
    return any(roles & (Role.YES | Role.PUBLISH) for roles in approvals(text))


def holds_back(text: str) -> bool:
    """Whether some word of the text refuses, doubts or puts off, or the text asks about publishing; a value that it
    gives, and what it quotes, aside."""
    if any(approvals(text)):
        return False
    if any(mark in text for mark in QUESTIONS + "？") and mentions_publishing(text):
        return True
    lines = masked(text, quotations(text, ALL_MARKS), " ").split("\n")
    keys = (VALUE.sub("", line) for line in lines)
    said = (line if mentions_publishing(key) else key for line, key in zip(lines, keys, strict=True))
    return _found("\n".join(said), STEMS["hold"])


def mentions_publishing(text: str) -> bool:
    """Whether some word of the text is about publishing, however it is meant."""
    return _found(text, STEMS["about"])


def approvals(text: str) -> Iterator[Role]:
    """What the text does as a whole, once for each language all of whose words it is; a question that is no request
    does nothing."""
    text = unicodedata.normalize("NFKC", even(text))
    if len(text) > LONGEST_APPROVAL or HESITATION.search(text):
        return
    said, asks = tokens(text), any(mark in text for mark in QUESTIONS)
    foreign = [
        LANGUAGES_OF.get(token, frozenset[str]()) for token in set(said) if ALWAYS not in LANGUAGES_OF.get(token, ())
    ]
    for language in frozenset.intersection(*foreign) if foreign else (ALWAYS,):
        for roles in _covers(said, (PHRASES[language], PHRASES[ALWAYS])):
            # “nu” is now for a Swede and no for a Romanian: beside English words it is taken for a no.
            if (not asks or Role.ASK in roles) and (
                language == ALWAYS or Role.OWN in roles or not _found(text, STEMS["hold"])
            ):
                yield roles


def tokens(text: str) -> list[Token]:
    """The words of the text in small letters; in scripts without spaces, and of pictures, each character."""
    found, word = list[Token](), ""
    for char in unicodedata.normalize("NFKC", SMILES.sub("🙂", text).casefold()):
        kind = unicodedata.category(char)
        if kind[0] in "LMN" and not _stands_alone(char) and char != "\ufe0f":
            word += char
            continue
        if word:
            found.append(word)
            word = ""
        if not (char.isspace() or char in SEPARATORS or kind in ("Cf", "Sk") or char == "\ufe0f"):
            found.append(char)
    return [*found, word] if word else found


def _stands_alone(char: str) -> bool:
    """Whether the character is of Chinese, Japanese or Thai, which are written without spaces."""
    at = ord(char)
    return 0x0E00 <= at < 0x0E80 or 0x3040 <= at < 0x3100 or 0x3400 <= at < 0xA000 or 0x20000 <= at < 0x32000


def _covers(said: Sequence[Token], phrases: Sequence[Phrases]) -> frozenset[Role]:
    """The roles together of each way to read the words as phrases, without a rest."""
    ways: list[set[Role]] = [{Role.BESIDE}, *(set[Role]() for _ in said)]
    for at, token in enumerate(said):
        if not ways[at]:
            continue
        for phrase, role in (each for by_first in phrases for each in by_first.get(token, ())):
            end = at + len(phrase)
            if tuple(said[at:end]) == phrase:
                ways[end] |= {before | role for before in ways[at]}
    return frozenset(ways[-1])


def _phrases_of(language: str) -> Phrases:
    """The phrases of the language by their first words; none that would hold back there or in English, as “no” for the
    Vietnamese “nó” would."""
    words, found = LANGUAGES[language], dict[Token, list[tuple[Phrase, Role]]]()
    holding = _split(words.hold), _split(LANGUAGES[ALWAYS].hold)
    held = {spelt for listed in holding for phrase in listed for spelt in _spellings(phrase)}
    for role, phrases in _by_role(words):
        for phrase in phrases:
            for spelt in _spellings(phrase) - held:
                own = Role.OWN if language != ALWAYS and role & (Role.YES | Role.PUBLISH) else Role.BESIDE
                found.setdefault(spelt[0], []).append((spelt, role | own))
    return found


def _by_role(words: Words) -> Iterator[tuple[Role, list[str]]]:
    objects = _split(words.it)
    publish = [
        phrase.replace("_", it) for phrase in _split(words.publish) for it in (objects if "_" in phrase else [""])
    ]
    yield Role.PUBLISH, publish
    yield Role.YES, _split(words.yes)
    yield Role.ASK, _split(words.ask)
    yield Role.BESIDE, [*objects, *_split(words.beside)]


def _split(phrases: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in phrases.split(",") if phrase.strip()]


def _spellings(phrase: str) -> set[Phrase]:
    """The phrase, and as it is typed on a keyboard without accents; one or two letters might then be anything."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", phrase) if not unicodedata.combining(char))
    plain = plain.translate(str.maketrans("đıłø", "dilo"))
    return {tuple(tokens(phrase)), *([tuple(tokens(plain))] if plain.isascii() and len(plain) > 2 else [])}


def _stems(field: str) -> tuple[tuple[Phrase, bool], ...]:
    """The phrases of that field in all languages, and whether their last word may go on. Without its accents none is
    an English word, as the Danish “før” would be."""
    listed = {phrase for words in LANGUAGES.values() for phrase in _split(getattr(words, field))}
    return tuple(
        (spelt, phrase.endswith("*"))
        for phrase in listed
        for spelt in _spellings(phrase.rstrip("*"))
        if spelt == tuple(tokens(phrase.rstrip("*"))) or ALWAYS not in LANGUAGES_OF.get(spelt[0], ())
    )


def _languages_of() -> Mapping[Token, frozenset[str]]:
    """By word the languages that have it."""
    found = dict[Token, set[str]]()
    for language, phrases in PHRASES.items():
        for token in {token for listed in phrases.values() for phrase, _ in listed for token in phrase}:
            found.setdefault(token, set()).add(language)
    return {token: frozenset(languages) for token, languages in found.items()}


def _found(text: str, stems: Sequence[tuple[Phrase, bool]]) -> bool:
    """Whether some of the phrases stand in the text."""
    said = tokens(text)
    at = {token: [n for n, each in enumerate(said) if each == token] for token in set(said)}
    for phrase, goes_on in stems:
        if len(phrase) == 1 and goes_on:
            if any(token.startswith(phrase[0]) for token in at):
                return True
        elif any(tuple(said[n : n + len(phrase)]) == phrase for n in at.get(phrase[0], ())):
            return True
    return False


PHRASES: Mapping[str, Phrases] = {language: _phrases_of(language) for language in LANGUAGES}
LANGUAGES_OF: Mapping[Token, frozenset[str]] = _languages_of()
STEMS: Mapping[str, Sequence[tuple[Phrase, bool]]] = {field: _stems(field) for field in ("hold", "about")}
