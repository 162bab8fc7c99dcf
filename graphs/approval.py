"""Whether a person's own words ask for the page to be made public. Nothing that a model says can.

It is better to ask once more than to publish what nobody asked for: a question, a condition or a no is no request.
"""

import re

_OPENING = (
    r"(?:please|ok|okay|yes|yep|yeah|sure|great|good|perfect|fine|nice|thanks|thank you|now|then|and|so|just|"
    r"all ?right|"
    r"right|let's|lets|let us|go ahead|do|finally|next|also|i'?d like to|i would like to|i want to|i'?d like you to|"
    r"i want you to|i would like you to|you can|you may|you should|can you|could you|would you|will you|we can|"
    r"we should|time to|ready to|i'?m ready to|we are ready to|we're ready to|it'?s time to)"
)
_WHAT = (
    r"(?:it|this|that|everything|(?:the |this |my |our )?(?:page|artifact|thing|site|result|lookbook|deck|link|poster))"
)
_DEED = (
    r"(?:(?:re-?)?publish|(?:re-?)?render|go live|ship it|launch it|release it|"
    rf"(?:make|put|get|take|set|push|bring) {_WHAT} (?:to the )?(?:public|live|online))"
)
_TAIL = (
    rf"(?:{_WHAT}|all|now|again|please|for me|for us|right now|right away|today|then|publicly|live|online|to the web|"
    r"as it is|as is|thanks|thank you)"
)
_REQUEST = re.compile(rf"(?:{_OPENING}[\s,]+)*{_DEED}(?:[\s,]+{_TAIL})*")
_AFTER_AND = re.compile(rf"(?:{_OPENING}[\s,]+)*{_DEED}(?:[\s,]+{_TAIL})+|go live|(?:ship|launch|release) it")
"""After a bare “and” the deed needs its object: “Read and publish” may be a title."""
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|(?<!\w)'[^'\n]*'(?!\w)")
_NO = re.compile(
    r"\b(?:not|no|never|n't|dont|don't|doesn't|can't|cannot|won't|without|before|until|till|unless|if|when|once|"
    r"after|later|"
    r"yet|wait|stop|hold|should i|should we|shall i|shall we|how|what|why|would it|is it|was it)\b|n't\b"
)
_SENTENCE = re.compile(r"[\n.!;?]+")
_THEN = re.compile(r",\s*(?:and\s+)?(?:then\s+)?|\s+(?:and\s+)?then\s+")
_AND = re.compile(r"\s+and\s+")


def asks_to_publish(text: str) -> bool:
    """Whether some sentence of the text tells us, now and without a condition, to render or to publish."""
    plain = _QUOTED.sub(" ", text.replace("’", "'")).lower()
    return any(_is_request(sentence) for sentence in _SENTENCE.split(plain))


def _is_request(sentence: str) -> bool:
    if _NO.search(sentence):
        return False
    clauses = [" ".join(clause.split()) for clause in _THEN.split(sentence)]
    if _REQUEST.fullmatch(" ".join(sentence.split()).strip(" ,")):
        return True
    return any(_REQUEST.fullmatch(clause) or _ends_in_request(clause) for clause in clauses)


def _ends_in_request(clause: str) -> bool:
    *before, last = _AND.split(clause)
    return bool(before) and _AFTER_AND.fullmatch(last) is not None


def refuses_to_publish(text: str) -> bool:
    """Whether the text speaks of publishing to say that it is not wanted yet."""
    plain = _QUOTED.sub(" ", text.replace("’", "'")).lower()
    return bool(re.search(r"\b(?:do not|don't|dont|never|not) (?:yet )?(?:re-?)?(?:publish|render)", plain))
