"""Whether a person's own words ask for the page to be made public. Nothing that a model says can.

It is better to ask once more than to publish what nobody asked for: a question, a condition or a no is no request.
"""

import re

from tools.models.normalize import ALL_MARKS, even, masked, quotations

_OPENING = (
    r"(?>(?:please|pls|plz|ok|okay|yes|yep|yeah|sure|great|good|perfect|fine|nice|thanks|thank you|now|then|and|so|"
    r"just|all ?right|right|let's|lets|let us|go ahead|go on|do|finally|next|also|i'?d like to|i would like to|"
    r"i want to|i'?d like you to|i want you to|i would like you to|you can|you may|you should|can you|could you|"
    r"would you|will you|we can|we should|time to|ready to|i'?m ready to|we are ready to|we're ready to|"
    r"it'?s time to)\b)"
)
"""Here and below nothing is tried a second time once it fitted: `(?>…)`, `*+`. So a clause is read in linear time."""
_WHAT = (
    r"(?>(?:(?:the |this |my |our )?(?:page|artifact|thing|site|result|lookbook|deck|link|poster)|it|this|that|"
    r"everything)\b)"
)
_DEED = (
    r"(?>(?:(?:re-?)?publish|(?:re-?)?render|go live|ship it|launch it|release it|"
    rf"(?:make|put|get|take|set|push|bring) {_WHAT} (?:to the )?(?:public|live|online))\b)"
)
_TAIL = (
    rf"(?>(?:{_WHAT}|all|now|again|please|pls|plz|for me|for us|right now|right away|today|then|publicly|live|online|"
    rf"to the web|"
    r"as it is|as is|thanks|thank you)\b)"
)
_REQUEST = re.compile(rf"(?:{_OPENING}[ ,]++)*+{_DEED}(?:[ ,]++{_TAIL})*+")
_AFTER_AND = re.compile(rf"(?:{_OPENING}[ ,]++)*+{_DEED}(?:[ ,]++{_TAIL})++|go live|(?:ship|launch|release) it")
"""After a bare “and” the deed needs its object: “Read and publish” may be a title."""
_NO = re.compile(
    r"\b(?:not|no|never|n't|dont|don't|doesn't|can't|cannot|won't|without|before|until|till|unless|if|when|once|"
    r"after|later|"
    r"yet|wait|stop|hold|should i|should we|shall i|shall we|how|what|why|would it|is it|was it)\b|n't\b"
)
_OPENED = re.compile(
    r"((?:[:=→]|\b(?:call|name|title|entitle) (?:it|this|that|the page)|\b(?:to|is|be|say|read))\s+)"
    r"(?:After|Before|Until|Till|Unless|If|When|Once|Later|Yet|Wait|Stop|Hold|How|What|Why|No|Not|Never|Without|Don't|"
    r"Doesn't|Can't|Won't)(?=\s+\w)"
)
"""A title may open with such a word: as the first of a value and with a capital it is no condition, and no no."""
_SENTENCE = re.compile(r"([^\n.!;?…]+)([\n.!;?…]*)")
_POLITE = re.compile(r"(?:(?:please|ok|okay|so|and|great|now)[ ,]++)*+(?:can|could|will) (?:you|we)\b|.*\bplease\b")
_DOUBT = re.compile(
    r"(?:[ '\"“”]|hm+|oh|well|but|or|,)*+(?:not?|nope|never|don't|dont|wait|stop|hold|cancel|maybe|rather)\b"
)
_AND_TELL = re.compile(
    r" and (?:then )?(?:(?:give|send|tell|show)(?: me| us)? the (?:public )?(?:link|url|address)|"
    r"(?:share|send) (?:it|this|the link|the page) (?:with|to) \w+(?: \w+)?)(?: please)?$"
)
"""What may be wanted besides: the link, which is told anyway, or that somebody hears of it."""
_THEN = re.compile(r", ?(?:and )?(?:then )?| (?:and )?then ")


_REFUSAL = re.compile(
    r"\b(?:do not|don't|dont|never|not|nobody should|hold off|wait with|stop)(?: (?:yet|to|on|ever|want to))* "
    rf"(?:(?:re-?)?publish|(?:re-?)?render|go(?:ing)? live|share|send|(?:make|put|get|take|set) {_WHAT} (?:to the )?"
    r"(?:public|live|online))"
)
_SPOKEN = re.compile(
    r"\b(?:(?:re-?|un)?publish(?:ed|ing|es)?|render(?:ed|ing)?|online|public|(?:go|goes|going|is|be|change) live|"
    r"(?:who|client|anyone|everyone|people) (?:can|could|may|will)? ?see (?:it|this))\b"
)


def asks_to_publish(text: str) -> bool:
    """Whether some sentence of the text tells us, now and without a condition, to render or to publish."""
    plain = _OPENED.sub(r"\1", _unquoted(text)).lower()
    sentences = _SENTENCE.findall(plain)
    asked = (_is_request(said) and _is_firm(said, mark) for said, mark in sentences)
    return any(sure and not any(_DOUBT.match(later) for later, _ in sentences[at:]) for at, sure in enumerate(asked, 1))


def _is_firm(said: str, mark: str) -> bool:
    """“Publish?” and “publish …” are no request; “can you publish it?” is."""
    if ".." in mark or "…" in mark:
        return False
    return "?" not in mark or _POLITE.match(said.strip()) is not None


def _is_request(sentence: str) -> bool:
    if _NO.search(sentence):
        return False
    sentence = _AND_TELL.sub("", sentence.strip(" ,"))
    if _REQUEST.fullmatch(sentence.strip(" ,")):
        return True
    clauses = [clause.strip() for clause in _THEN.split(sentence)]
    return any(_REQUEST.fullmatch(clause) or _ends_in_request(clause) for clause in clauses)


def _ends_in_request(clause: str) -> bool:
    _, joint, last = clause.rpartition(" and ")
    return bool(joint) and _AFTER_AND.fullmatch(last) is not None


_WORD = "publish"
_ALMOST = re.compile(
    "|".join(
        rf"\b{form}\b"
        for at in range(len(_WORD))
        for form in (
            rf"{_WORD[:at]}[a-z]?{_WORD[at + 1 :]}",
            rf"{_WORD[:at]}[a-z]{_WORD[at:]}",
            f"{_WORD[:at]}{_WORD[at : at + 2][::-1]}{_WORD[at + 2 :]}",
        )
    ),
    re.IGNORECASE,
)
"""One letter too many, too few, another one, or two that changed places."""


def nearly_asks_to_publish(text: str) -> bool:
    """Whether the text would be a request but for a slip of the pen; nobody takes it for one without asking back."""
    return not asks_to_publish(text) and asks_to_publish(_ALMOST.sub(_WORD, text))


def refuses_to_publish(text: str) -> bool:
    """Whether the text speaks of publishing to say that it is not wanted yet."""
    return bool(_REFUSAL.search(_unquoted(text).lower()))


def speaks_of_publishing(text: str) -> bool:
    """Whether the text is about publishing at all: a question, a plan, a condition."""
    return bool(_SPOKEN.search(_unquoted(text).lower()))


def _unquoted(text: str) -> str:
    plain = even(text)
    return even(masked(plain, quotations(plain, ALL_MARKS), " "))
