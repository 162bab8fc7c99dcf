"""Whether a person's own words ask for the page to be made public, or say yes to the offer. Nothing that a model says
counts.

It is better to ask once more than to publish what nobody asked for: a question, a condition or a no is no request. In
all languages a request and a yes are known words and nothing else, so that an unknown word publishes nothing.
"""

import re

from tools.models.normalize import ALL_MARKS, even, masked, quotations

_OPENING = (
    r"(?>(?:please|pls|plz|ok|okay|yes|yep|yeah|sure|great|good|perfect|fine|nice|thanks|thank you|now|then|and|so|"
    r"just|all ?right|right|let's|lets|let us|go ahead|go on|do|finally|next|also|i'?d like to|i would like to|"
    r"i want to|i'?d like you to|i want you to|i would like you to|you can|you may|you should|can you|could you|"
    r"would you|will you|we can|we should|time to|ready to|i'?m ready to|we are ready to|we're ready to|"
    r"it'?s time to|"
    r"bitte|dann|jetzt|nun|ja|gut|super|danke|kannst du|könntest du|können sie|könnten sie|du kannst|sie können|"
    r"wir können|"
    r"s'il (?:te|vous) pla[iî]t|svp|stp|oui|merci|maintenant|tu peux|vous pouvez|peux-tu|pouvez-vous|d'accord|vas-y|"
    r"allez-y|parfait|por favor|sí|vale|gracias|ahora|puedes|perfecto|claro|per favore|sì|va bene|grazie|adesso|puoi|"
    r"perfetto|sim|agora|pode|perfeito|alsjeblieft|graag|tack|takk|proszę|teraz|prosím|nyní|пожалуйста|да|теперь|"
    r"давай|lütfen|evet)\b)"
)
"""Here and below groups are atomic and repetitions possessive, `(?>…)` and `*+`: a clause is read in linear time."""
_WHAT = (
    r"(?>(?:(?:the |this |my |our )?(?:page|artifact|thing|site|result|lookbook|deck|link|poster)|it|this|that|"
    r"everything)\b)"
)
_ITS = (
    r"(?>(?:(?:die|diese|meine|unsere) seite|das|sie|es|alles|(?:la|cette|ma|notre) page|"
    r"(?:la|esta|mi) página|(?:la|questa) pagina|la|le|tout|lo|(?:a|esta) página|de pagina|(?:sidan|siden)|"
    r"stronę|stránku|"
    r"страницу|её|sayfayı|ページを)\b)"
)
_VERB = (
    r"(?>(?:(?:re-?)?publish|(?:re-?)?render|go live|ship it|launch it|release it|"
    rf"(?:make|put|get|take|set|push|bring) {_WHAT} (?:to the )?(?:public|live|online)|"
    r"veröffentlich(?:e|en)|publizier(?:e|en)|(?:publie|publiez|publier)(?:-l[ae])?|publícal[ao]|publi(?:car|que|ca)|"
    r"pubblic(?:a|hi|are|al[ao])|publice(?:er|ren|ra)|publi[cs]er|offentliggør|opublikuj|publikuj|zveřejni|"
    r"опубликуй(?:те)?|опубликовать|опублікуй(?:те)?|yay[ıi]nla|公開して(?:ください)?|发布吧?|請?發佈|请发布|"
    rf"게시해 ?주세요|공개해 ?주세요|انشرها|stelle? {_ITS} online|mach {_ITS} öffentlich|"
    rf"met(?:s|tez) {_ITS} en ligne)\b)"
)
_TAIL = (
    rf"(?>(?:{_WHAT}|all|now|again|please|pls|plz|for me|for us|right now|right away|today|then|publicly|live|online|"
    rf"to the web|"
    rf"as it is|as is|thanks|thank you|{_ITS}|bitte|jetzt|sofort|danke|s'il (?:te|vous) pla[iî]t|svp|stp|"
    rf"maintenant|merci|"
    r"por favor|ahora|gracias|per favore|adesso|ora|grazie|agora|alsjeblieft|nu|tack|takk|proszę|teraz|prosím|"
    r"пожалуйста|сейчас|lütfen)\b)"
)
_REQUEST = re.compile(rf"(?:(?:{_OPENING}|{_ITS})[ ,]++)*+{_VERB}(?:[ ,]++{_TAIL})*+")
_AFTER_AND = re.compile(rf"(?:{_OPENING}[ ,]++)*+{_VERB}(?:[ ,]++{_TAIL})++|go live|(?:ship|launch|release) it")
"""After a bare “and” the verb needs its object: “Read and publish” may be a title."""
_NO = re.compile(
    r"\b(?:not|no|never|n't|dont|don't|doesn't|can't|cannot|won't|without|before|until|till|unless|if|when|once|"
    r"after|later|"
    r"yet|wait|stop|hold|should i|should we|shall i|shall we|how|what|why|would it|is it|was it|"
    r"nicht|kein|keine|nein|wenn|falls|sobald|bevor|später|warte|warum|soll ich|sollen wir|pas|jamais|non|si|"
    r"quand|avant|"
    r"après|lorsque|attends|comment|pourquoi|nunca|cuando|antes|después|espera|cómo|qué|quando|dopo|aspetta|"
    r"perché|não|"
    r"depois|niet|geen|wanneer|inte|ikke|nie|jeśli|kiedy|když|не|нет|если|когда|hayır|değil|eğer)\b|n't\b"
)
_OPENED = re.compile(
    r"((?:[:=→]|\b(?:call|name|title|entitle) (?:it|this|that|the page)|\b(?:to|is|be|say|read))\s+)"
    r"(?:After|Before|Until|Till|Unless|If|When|Once|Later|Yet|Wait|Stop|Hold|How|What|Why|No|Not|Never|Without|"
    r"Don't|"
    r"Doesn't|Can't|Won't)(?=\s+\w)"
)
"""A title may open with such a word: first in a value and with a capital it is neither a condition nor a no."""
_SENTENCE = re.compile(r"([^\n.!;?…]+)([\n.!;?…]*)")
_POLITE = re.compile(
    r"(?:(?:please|ok|okay|so|and|great|now)[ ,]++)*+(?:can|could|will) (?:you|we)\b|"
    r"(?:kannst|könntest) du\b|können sie\b|könnten sie\b|pouvez-vous\b|peux-tu\b|"
    r".*\b(?:please|bitte|s'il (?:te|vous) pla[iî]t|por favor|per favore)\b"
)
_DOUBT = re.compile(
    r"(?:[ '\"“”]|hm+|oh|well|but|or|aber|doch|mais|pero|ma|,)*+(?:not?|nope|never|don't|dont|wait|stop|hold|cancel|"
    r"maybe|rather|nein|nicht|warte|non|attends|espera|aspetta|não|niet|wacht|nej|nei|nie|ne|нет|не|hayır)\b"
)
_AND_TELL = re.compile(
    r" and (?:then )?(?:(?:give|send|tell|show)(?: me| us)? the (?:public )?(?:link|url|address)|"
    r"(?:share|send) (?:it|this|the link|the page) (?:with|to) \w+(?: \w+)?)(?: please)?$"
)
"""What may be asked for besides: the link, which the reply has anyway, or to send it to somebody."""
_THEN = re.compile(r", ?(?:and |und |et |y |e |en )?(?:then |dann |puis )?| (?:and )?then | (?:und |et |puis |y )")
_SAID_YES = (
    r"(?>(?:yes|yep|yup|yeah|y|sure(?: thing)?|ok(?:ay)?|of course|absolutely|definitely|certainly|agreed|exactly|"
    r"go ahead|go for it|do (?:it|so|that|this)|let's (?:go|do (?:it|this|that))|make it so|by all means|"
    r"(?:looks|sounds) (?:good|great)|i agree|please|pls|you (?:may|can)|"
    r"ja(?:wohl)?|jo|klar|gern(?:e)?|bitte|mach(?:e|en sie)?(?: das| es)?|tu(?:e)? (?:es|das)|los|einverstanden|passt|"
    r"oui|ouais|vas-y|allez-y|d'accord|bien sûr|fai(?:s|tes)-le|s'il (?:te|vous) pla[iî]t|svp|sí|si|claro|vale|dale|"
    r"hazlo|adelante|de acuerdo|por favor|sì|certo|va bene|fallo|procedi|d'accordo|per favore|sim|pode(?: ser)?|faça|"
    r"vai|"
    r"graag|doe (?:het|maar)|prima|javisst|gör det|gjør det|gør det|tak|dobrze|zrób to|ano|dobře|udělej to|да|"
    r"давай(?:те)?|хорошо|конечно|сделай(?: это)?|пожалуйста|так|evet|tamam|olur|lütfen|はい|いいです|いいよ|"
    r"お願いします|どうぞ|好的?|可以|行|是的?|네|예|좋아요|نعم|تمام|हाँ|हां|ठीक है|vâng|👍|✅)(?!\w))"
)
_BESIDE_YES = (
    r"(?>(?:now|then|fine|good|great|perfect|thanks|thank you|gut|super|danke|parfait|merci|perfecto|gracias|perfetto|"
    r"grazie|perfeito|obrigad[oa]|goed|tack|takk|dank je|спасибо)(?!\w))"
)
"""What may stand beside a yes and is none."""
_GAP = r"[ ,.!。、！]*+"
_YES = re.compile(
    rf"(?:{_BESIDE_YES}{_GAP})*+{_SAID_YES}{_GAP}(?:(?:{_SAID_YES}|{_BESIDE_YES}){_GAP})*+", re.IGNORECASE
)
LONGEST_YES = 60


def asks_to_publish(text: str) -> bool:
    """Whether some sentence of the text asks, now and without a condition, to render or to publish the page.

    What is quoted is not read. A later sentence that doubts or withdraws the request undoes it.
    """
    plain = even(text)
    plain = even(masked(plain, quotations(plain, ALL_MARKS), " "))
    sentences = _SENTENCE.findall(_OPENED.sub(r"\1", plain).lower())
    asked = (_is_request(said, mark) for said, mark in sentences)
    return any(sure and not any(_DOUBT.match(later) for later, _ in sentences[at:]) for at, sure in enumerate(asked, 1))


def is_yes(text: str) -> bool:
    """Whether the text is a short yes and nothing else, as an answer to the assistant's offer to publish."""
    plain = even(text)
    return len(plain) <= LONGEST_YES and ".." not in plain and _YES.fullmatch(plain) is not None


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
