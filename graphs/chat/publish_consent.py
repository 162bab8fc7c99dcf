"""Whether a person's own words ask for the page to be made public. Nothing that a model says counts.

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
"""Here and below groups are atomic and repetitions possessive, `(?>…)` and `*+`: a clause is read in linear time."""
_WHAT = (
    r"(?>(?:(?:the |this |my |our )?(?:page|artifact|thing|site|result|lookbook|deck|link|poster)|it|this|that|"
    r"everything)\b)"
)
_VERB = (
    r"(?>(?:(?:re-?)?publish|(?:re-?)?render|go live|ship it|launch it|release it|"
    rf"(?:make|put|get|take|set|push|bring) {_WHAT} (?:to the )?(?:public|live|online))\b)"
)
_TAIL = (
    rf"(?>(?:{_WHAT}|all|now|again|please|pls|plz|for me|for us|right now|right away|today|then|publicly|live|online|"
    rf"to the web|"
    r"as it is|as is|thanks|thank you)\b)"
)
_REQUEST = re.compile(rf"(?:{_OPENING}[ ,]++)*+{_VERB}(?:[ ,]++{_TAIL})*+")
_AFTER_AND = re.compile(rf"(?:{_OPENING}[ ,]++)*+{_VERB}(?:[ ,]++{_TAIL})++|go live|(?:ship|launch|release) it")
"""After a bare “and” the verb needs its object: “Read and publish” may be a title."""
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
"""A title may open with such a word: first in a value and with a capital it is neither a condition nor a no."""
_SENTENCE = re.compile(r"([^\n.!;?…]+)([\n.!;?…]*)")
_POLITE = re.compile(r"(?:(?:please|ok|okay|so|and|great|now)[ ,]++)*+(?:can|could|will) (?:you|we)\b|.*\bplease\b")
_DOUBT = re.compile(
    r"(?:[ '\"“”]|hm+|oh|well|but|or|,)*+(?:not?|nope|never|don't|dont|wait|stop|hold|cancel|maybe|rather)\b"
)
_AND_TELL = re.compile(
    r" and (?:then )?(?:(?:give|send|tell|show)(?: me| us)? the (?:public )?(?:link|url|address)|"
    r"(?:share|send) (?:it|this|the link|the page) (?:with|to) \w+(?: \w+)?)(?: please)?$"
)
"""What may be asked for besides: the link, which the reply has anyway, or to send it to somebody."""
_THEN = re.compile(r", ?(?:and )?(?:then )?| (?:and )?then ")


def asks_to_publish(text: str) -> bool:
    """Whether some sentence of the text asks, now and without a condition, to render or to publish the page.

    What is quoted is not read. A later sentence that doubts or withdraws the request undoes it.
    """
    plain = even(text)
    plain = even(masked(plain, quotations(plain, ALL_MARKS), " "))
    sentences = _SENTENCE.findall(_OPENED.sub(r"\1", plain).lower())
    asked = (_is_request(said, mark) for said, mark in sentences)
    return any(sure and not any(_DOUBT.match(later) for later, _ in sentences[at:]) for at, sure in enumerate(asked, 1))


def _is_request(sentence: str, mark: str) -> bool:
    """Whether a sentence, which ends in this mark, is or contains a request. “Publish?” and “publish …” are none."""
    if ".." in mark or "…" in mark or ("?" in mark and not _POLITE.match(sentence.strip())) or _NO.search(sentence):
        return False
    sentence = _AND_TELL.sub("", sentence.strip(" ,")).strip(" ,")
    for clause in (sentence, *(clause.strip() for clause in _THEN.split(sentence))):
        _, joint, last = clause.rpartition(" and ")
        if _REQUEST.fullmatch(clause) or (joint and _AFTER_AND.fullmatch(last)):
            return True
    return False
