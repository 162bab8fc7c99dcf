"""What people say without particulars: “help”, “what is missing”, “thanks”."""

import re

from app.bindings.ai.builtin.wishes import Word

_PHRASES: tuple[tuple[Word, str], ...] = (
    (
        "start over",
        r"(?:let'?s )?(?:start|begin) (?:it )?(?:all )?(?:over|again|anew|afresh|from scratch)(?: again)?|"
        r"reset(?: (?:it|everything|all|"
        r"the page))?|from scratch|(?:clear|empty|wipe|delete|remove) (?:everything|it all|all(?: of it)?)|"
        r"(?:clear|empty|wipe) the (?:whole )?page",
    ),
    ("help", r"help(?: me)?(?: out)?|\?+|what can (?:you|i) (?:do|say)(?: here| for (?:me|us))?|how does (?:this|"
             r"it) work|commands?|"
             r"what (?:do|should|can) i (?:do|say|type)(?: now)?|i need help|i(?:'m| am) (?:lost|confused|stuck)|"
             r"i (?:do not|don'?t) (?:understand|get it)|"
             r"what(?: is|'s) this(?: all about)?|where (?:do|should|can) i (?:start|begin)|"
             r"i (?:have )?made a mistake|instructions|how do i (?:start|begin|"
             r"use this)"),
    (
        "missing",
        r"(?:so )?what(?:'s| is| are|'re)?(?: still| else| there)*(?: to be)? (?:missing|left|open|needed|to do|"
        r"remaining|outstanding|"
        r"unfilled|empty|next|required)(?: to (?:do|fill)| now| here| yet)?|what (?:else )?(?:do you|does it|"
        r"does the page) "
        r"(?:still )?need(?: from me)?|(?:current )?status|progress|how far (?:are|am) (?:we|i)|are we (?:done|"
        r"there|ready|finished)"
        r"(?: yet)?|is (?:everything|it all|the page) (?:filled|done|complete|ready)(?: in)?|am i done|"
        r"anything (?:missing|left|else)"
        r"|what remains|missing|(?:and )?what(?:'s| is)? next|what now|now what|how (?:many|much) (?:are|is|"
        r"do we have) (?:still )?(?:left|missing|empty|open)|"
        r"(?:and )?what (?:should|do|can|must) (?:i|we) (?:do )?(?:next|now)|what placeholders.*|"
        r"which placeholders.*|"
        r"what (?:can|must|should|do) i (?:still )?(?:fill|need to fill|have to fill)(?: in)?",
    ),
    ("link", r"(?:where (?:is|can i (?:see|find)) (?:it|the page|the link)|(?:what(?:'s| is) |give me |show me |"
             r"send me |share )?(?:the )?"
             r"(?:public )?(?:link|url|address|slug)(?: please)?|is (?:it|the page) (?:published|public|online|"
             r"live)(?: yet| now)?)"),
    ("share", r"(?:(?:please )?(?:share|send|show|forward|mail|e-?mail|give)(?: (?:it|this|that|the page|the link|"
              r"a link|"
              r"everything|them))? (?:with|to) (?:my |our |the |a |all )*(?:client|customer|team|boss|colleague|friend|"
              r"everyone|everybody|people|world)\w*|share(?: (?:it|this|the page))?|can (?:my|our|"
              r"the) \w+ see (?:it|this|"
              r"the page))"),
    ("redo", r"redo(?: (?:it|that|this))?"),
    ("later", r"(?:leave|skip) .+? (?:for )?(?:later|now|the moment)|skip (?:it|that|this)|.+? (?:comes?|"
              r"can wait) later|"
              r"(?:not now|later)"),
    ("good", r"(?:i(?:'m| am)|we(?:'re| are)) (?:very |really )?(?:happy|pleased|fine|good|satisfied)(?: with .+)?|"
             r"(?:i|we) (?:really )?(?:like|love) (?:it|this|that)(?: now| all)?|(?:everything|it all|all|it|this|that)"
             r"(?:'s| is| looks?) (?:all )?(?:very |really |just )?(?:fine|good|great|perfect|nice|lovely|ok|"
             r"okay)(?: now)?|"
             r"are you (?:still )?there|lol|haha+|👍|🎉|❤️?"),
    ("preview", r"(?:show me |can i (?:see|have|get) )?(?:a |the )?preview(?: (?:it|the page|please))?|"
                r"how does (?:it|the page) look|"
                r"(?:show me|let me see) (?:the page|how it looks)"),
    ("unpublish", r"(?:unpublish|take (?:it|the page|this) (?:down|offline)|(?:delete|remove) (?:the|this|"
                  r"my) (?:whole )?page|make (?:it|the page) private|hide (?:it|"
                  r"the page)).*"),
    ("projects", r"(?:(?:which|what|show|list)(?: me)?(?: the| my| all)? projects?(?: .*)?|where do the (?:images|"
                 r"pictures) come from)"),
    ("hello", r"(?:hello|hi+|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day)|moin|hallo|"
              r"yo)(?: there| again| picasso| everyone)?"),
    ("thanks", r"(?:many )?(?:thanks|thank you|thx|cheers|ta|great|nice|perfect|cool|awesome|lovely|wonderful|"
               r"excellent|good job|well done|"
               r"brilliant|super|wow)(?: (?:you|so much|a lot|very much|again|work|job|one|that|that's|is|great|"
               r"nice|perfect))*"),
    ("bye", r"(?:good ?bye|bye(?: bye)?|see you(?: later| tomorrow| soon)?|later|that'?s (?:all|it)(?: for (?:now|"
            r"today))?|i'?m done|good night|ciao)"),
    ("who", r"(?:who|what) are you|are you (?:a |an )?(?:bot|robot|human|ai|real|person|chatgpt|model|"
            r"language model|machine).*|"
            r"what(?:'s| is) your name|which model are you"),
    ("how", r"how are you(?: doing)?(?: today)?|how(?:'s| is) it going|what'?s up|how do you do"),
    ("joke", r"tell me (?:a joke|something funny|a story)|what(?:'s| is) the (?:weather|time|date)(?: .*)?|sing.*|"
             r"what do you think.*"),
    ("yes", r"(?:yes|yep|yeah|yup|ok|okay|sure|fine|agreed|right|correct|of course|absolutely|sounds (?:good|great)|"
            r"looks (?:good|great)|"
            r"that'?s (?:good|fine|right|ok|okay)|please do|do (?:it|that|so)|go ahead|go on|continue|carry on|"
            r"i agree)(?: please| then| thanks)?"),
    ("no", r"(?:no|nope|nah|not (?:yet|now|really)|no thanks?|no thank you|don'?t|stop|cancel|wait)"),
)  # fmt: skip
_READ = [(word, re.compile(pattern)) for word, pattern in _PHRASES]


def word_of(text: str) -> Word | None:
    """The word for the whole of a clause; None for what is no such phrase."""
    said = " ".join(text.lower().split()).strip(" ,.!?") or text
    return next((word for word, pattern in _READ if pattern.fullmatch(said)), None)
