"""What the words of a prompt ask for, found by looking them up in tables.

The `sketch` provider paints from it and the built-in judge measures by it. Sentences are not interpreted: one such as
"mark this as pass" has no words that are in the tables.
"""

import re
from typing import Literal

import msgspec

from tools.media.colours import COLOURS, colour_named

Category = Literal["subject", "part", "time", "weather", "season", "mood", "tone", "layout", "medium"]


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """The words found, in canonical spelling, in the order of the prompt."""

    colours: tuple[str, ...] = ()
    """Colour words, including those of a single subject."""
    bound: dict[str, str] = {}
    """Subject or part → the colour word right before it ("a red boat" → `{"boat": "red"}`)."""
    excluded: frozenset[str] = frozenset()
    """Colours and other words that the image should not show."""
    subject: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    weather: tuple[str, ...] = ()
    season: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()
    tone: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    medium: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All words found, without duplicates."""
        found = (*self.colours, *self.subject, *self.part, *self.time, *self.weather, *self.season)
        return tuple(dict.fromkeys((*found, *self.mood, *self.tone, *self.layout, *self.medium)))


_LEXICON: dict[Category, dict[str, str]] = {
    "subject": {
        "sea": "sea|ocean|wave|surf|coast|coastline|beach|shore|bay|seaside|harbour|harbor|seascape|island|marina|tide",
        "lake": "lake|pond|fjord|loch|lagoon|reservoir",
        "river": "river|stream|creek|brook|canal",
        "mountain": "mountain|peak|alp|summit|sea of fog|sea of clouds|ridge|volcano|cliff|glacier|mount fuji|"
        "mountainside|mountain range",
        "hill": "hill|meadow|field|valley|countryside|farm|pasture|prairie|vineyard|landscape|grass|"
        "garden|park|hillside",
        "forest": "forest|wood|woodland|jungle|grove|rainforest|pine|fir|spruce",
        "city": "city|skyline|downtown|metropolis|skyscraper|cityscape|urban|street|avenue|tower|building|"
        "new york|tokyo",
        "village": "village|town|hamlet|rooftop",
        "desert": "desert|dune|sahara|canyon|oasis",
        "space": "space|galaxy|nebula|cosmos|universe|planet|cosmic|milky way|astronaut|outer space",
        "house": "house|cottage|cabin|home|hut|barn|farmhouse|chalet|mill|windmill",
        "lighthouse": "lighthouse|light house|beacon",
        "bridge": "bridge|viaduct|aqueduct",
        "tree": "tree|oak|willow|birch|maple|cherry tree|apple tree|bonsai|baobab|cherry blossom",
        "flower": "flower|tulip|daisy|poppy|sunflower|blossom|bouquet|lily|peony|bloom|petal|wildflower|"
        "dahlia|iris|rose",
        "moon": "moon|full moon|crescent|crescent moon",
        "sun": "sun",
        "star": "star|constellation|starry sky|night sky",
        "boat": "boat|ship|sailboat|yacht|canoe|vessel|sailing boat|sailing ship|schooner|dinghy|rowboat",
        "cat": "cat|kitten|feline|kitty",
        "dog": "dog|puppy|hound|wolf|fox",
        "bird": "bird|gull|seagull|swallow|crow|raven|eagle|hawk|sparrow|robin|heron|crane|swan|goose|geese",
        "fish": "fish|koi|goldfish|carp|whale|shark|dolphin",
        "person": "figure|hiker|walker|traveller|traveler|wanderer|silhouette|monk|couple|child|fisherman|"
        "knight|samurai",
        "portrait": "portrait|face|woman|girl|lady|headshot|self portrait|person|model|queen|dancer|bride",
        "man": "man|boy|gentleman|king|father|grandfather|sailor|guy|prince",
        "cup": "cup|mug|coffee|tea|espresso|cappuccino|latte|teacup|cocoa",
        "fruit": "fruit|apple|pear|still life|vase|bowl|pitcher|jug|bottle|fruit bowl",
        "balloon": "balloon|hot air balloon|airship",
        "abstract": "abstract|geometric|geometry|shape|cubist|cubism|bauhaus|composition|poster|pattern|"
        "texture|logo|"
        "expressionist|mosaic|collage|suprematist|wallpaper",
    },
    "part": {
        "sky": "sky|skies",
        "background": "background|backdrop|wall",
        "water": "water|reflection",
        "clothes": "coat|jacket|dress|scarf|raincoat|shirt|robe|cloak|sweater|suit|gown|umbrella|hat",
        "roof": "roof",
        "hair": "hair",
        "leaves": "leaf|leaves|foliage",
        "sail": "sail",
    },
    "time": {
        "dawn": "dawn|sunrise|daybreak|early morning|morning",
        "day": "day|noon|midday|afternoon|daylight|sunny|sunlit|blue sky|sunlight",
        "golden": "golden hour|golden light|magic hour|late afternoon",
        "sunset": "sunset|sundown|evening glow|sunsets",
        "dusk": "dusk|twilight|evening|blue hour|nightfall",
        "night": "night|midnight|nocturnal|moonlit|moonlight|starry|nighttime|night sky|starry sky|moonlit night",
    },
    "weather": {
        "rain": "rain|rainy|drizzle|downpour|raining|monsoon",
        "snow": "snow|snowy|blizzard|snowfall|snowing|snowflake|snow covered|snowcapped|snow capped",
        "fog": "fog|foggy|sea of fog|sea of clouds|mist|misty|haze|hazy|smoky",
        "storm": "storm|stormy|thunder|lightning|thunderstorm|tempest|hurricane|tornado",
        "cloud": "cloud|cloudy|overcast",
        "wind": "wind|windy|breeze|breezy|windswept",
        "clear": "clear sky|cloudless",
        "aurora": "aurora|northern lights|aurora borealis",
        "rainbow": "rainbow",
    },
    "season": {
        "spring": "spring|springtime|cherry blossom|blossoming",
        "summer": "summer|summery|midsummer",
        "autumn": "autumn|autumnal|fall colours|fall colors|harvest",
        "winter": "winter|wintry|frost|frosty|frozen|icy|christmas|arctic",
    },
    "mood": {
        "calm": "calm|peaceful|serene|tranquil|quiet|still|relaxing|zen|gentle|soothing|harmonious",
        "stormy": "stormy|turbulent|violent|raging|wild",
        "dramatic": "dramatic|epic|intense|powerful|cinematic|majestic|bold|heroic|dramatic light|dramatic lighting",
        "cosy": "cosy|cozy|warm light|homely|intimate|candlelit|hygge|inviting|comforting",
        "mysterious": "mysterious|mystical|mystic|enigmatic|magical|secret|enchanted|surreal|ethereal",
        "eerie": "eerie|spooky|haunted|creepy|ominous|sinister|gothic|scary",
        "joyful": "joyful|happy|cheerful|playful|festive|lively|fun|joyous|celebration|energetic|whimsical",
        "melancholic": "melancholic|melancholy|sad|lonely|sombre|somber|nostalgic|wistful|solitary|solitude|"
        "gloomy|moody",
        "romantic": "romantic|love|tender|dreamy|dreamlike|delicate",
        "minimal": "minimal|minimalist|minimalism|simple|sparse|reduced|understated|clean",
    },
    "tone": {
        "dark": "dark|low key|noir|shadowy|dim|deep shadows|darkness",
        "bright": "bright|high key|luminous|radiant|sunny|airy|glowing|brilliant",
        "warm": "warm|warm tones|warm palette|warm colours|warm colors|warm light|sunlit",
        "cool": "cool|cold|cool tones|cool palette|cool colours|cool colors|chilly",
        "deep": "deep|rich",
        "pastel": "pastel|pastels|powdery",
        "neon": "neon|fluorescent|cyberpunk|synthwave|vaporwave|electric",
        "muted": "muted|desaturated|subdued|faded|washed out|earthy|earth tones|dusty|vintage",
        "vibrant": "vibrant|vivid|saturated|colourful|colorful|bold colours|bold colors|psychedelic|"
        "multicolour|multicolored",
        "sepia": "sepia|sepia tone|sepia toned|daguerreotype",
        "monochrome": "monochrome|monochromatic|black and white|greyscale|grayscale|b w",
        "contrast": "high contrast|contrasty|stark|chiaroscuro|strong contrast|dramatic light|dramatic lighting",
        "soft": "soft|low contrast|soft light|diffuse|hushed|soft focus|pale",
    },
    "layout": {
        "wide": "wide|panorama|panoramic|vast|wide shot|wide angle|sweeping|expansive|distant|aerial",
        "close": "close|close up|closeup|macro|detail|detailed view|extreme close up",
        "symmetrical": "symmetrical|symmetric|symmetry|mirrored|balanced",
        "thirds": "rule of thirds|thirds|off centre|off center",
        "diagonal": "diagonal|dynamic|tilted|dutch angle",
        "centred": "centred|centered|central|centre|center|in the middle|centre composition",
        "emptiness": "negative space|empty space|white space|lots of space|copy space",
        "low": "low horizon|big sky",
        "high": "high horizon|from above|bird s eye|birds eye|top down",
    },
    "medium": {
        "watercolour": "watercolour|watercolor|aquarelle|wash|gouache",
        "oil": "oil|oil painting|impasto|acrylic|impressionist|impressionism|painterly|brushstroke|"
        "brushstrokes|van gogh",
        "ink": "ink|line art|pen and ink|etching|engraving|woodcut|linocut|sumi e|calligraphy|charcoal drawing|pencil",
        "flat": "flat|vector|flat design|screen print|screenprint|risograph|poster|paper cut|papercut|"
        "gouache poster|graphic",
    },
}
_LONGEST = 4


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_PLAIN_COLOURS = _words(
    "jet smoke ash steel slate wine sand straw wheat blood cardinal champagne cream rose salmon pearl cherry plum",
    "honey hazel orchid chestnut fern pumpkin lemon peach lime denim moss brick canary caramel chocolate ebony",
)
"""Colour words that may also name a thing; an image need not show them."""
_NEGATIONS = _words("no not without avoid except never exclude excluding minus")
_BREAKS = _words("over on in under against with and at of the a an by near above below behind but to into from")
_GRAMMAR = _words(
    "please is are be it its this that as or very so some any all more most much image picture photo photograph",
    "make made show shows showing light colour color colours colors looks look looking should must have has there",
)
"""Words that name nothing to be seen."""
_ENDS = frozenset({".", ",", ";", ":", "!", "?", "\n", "but", "and", "with"})


_PHRASES: dict[str, list[tuple[Category, str]]] = {}
for _category, _entries in _LEXICON.items():
    for _canonical, _spellings in _entries.items():
        for _spelling in _spellings.split("|"):
            _PHRASES.setdefault(_spelling, []).append((_category, _canonical))


class _Match(msgspec.Struct, frozen=True):
    start: int
    stop: int
    category: str
    word: str


def read_wording(prompt: str, negative: str | None = None) -> Wording:
    """What a prompt asks for, without what it or the negative prompt excludes."""
    tokens = _tokens(prompt)
    matches = _matches(tokens)
    unwanted = _negated(tokens)
    excluded = {f.word for f in matches if f.start in unwanted} | {f.word for f in _matches(_tokens(negative or ""))}
    kept = [f for f in matches if f.start not in unwanted and f.word not in excluded]
    by_category = {
        category: tuple(dict.fromkeys(f.word for f in kept if f.category == category)) for category in _LEXICON
    }
    return Wording(
        colours=tuple(dict.fromkeys(f.word for f in kept if f.category == "colour")),
        bound=_bound(tokens, kept),
        excluded=frozenset(excluded),
        **by_category,
    )


def not_understood(text: str) -> list[str]:
    """The words of a prompt that are not in the tables and not the grammar's, in order and without duplicates."""
    tokens = _tokens(text)
    known = {i for find in _matches(tokens) for i in range(find.start, find.stop)}
    plain = _BREAKS | _NEGATIONS | _ENDS | _GRAMMAR
    return list(dict.fromkeys(t for i, t in enumerate(tokens) if i not in known and t not in plain))


def names_only_a_colour(word: str) -> bool:
    """Whether the colour word has no other meaning; False for "sand", "rose", "jet" and the like."""
    return word not in _PLAIN_COLOURS


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|[.,;:!?\n]", text.lower().replace("-", " "))


def _matches(tokens: list[str]) -> list[_Match]:
    """The longest known phrase at each position, from the colours and the lexicon."""
    matches: list[_Match] = []
    at = 0
    while at < len(tokens):
        for length in range(min(_LONGEST, len(tokens) - at), 0, -1):
            phrase = " ".join(tokens[at : at + length])
            named: list[tuple[str, str]] = list(_PHRASES.get(phrase) or _PHRASES.get(_singular(phrase)) or [])
            colour = COLOURS.get(phrase) if length > 1 else colour_named(phrase) or colour_named(_singular(phrase))
            if colour:
                named.append(("colour", colour.word))
            if named:
                matches += [_Match(at, at + length, category, word) for category, word in named]
                at += length
                break
        else:
            at += 1
    return matches


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word.removesuffix("s") if not word.endswith("ss") else word


def _negated(tokens: list[str]) -> set[int]:
    """Indexes of the tokens after "no", "without", "avoid" …: three words, or to the end of the line after "avoid:"."""
    places: set[int] = set()
    for at, token in enumerate(tokens):
        if token not in _NEGATIONS:
            continue
        if tokens[at + 1 : at + 2] == [":"]:
            end = tokens.index("\n", at) if "\n" in tokens[at:] else len(tokens)
            places.update(range(at, end))
            continue
        for place in range(at + 1, min(at + 4, len(tokens))):
            if tokens[place] in _ENDS:
                break
            places.add(place)
    return places


def _bound(tokens: list[str], matches: list[_Match]) -> dict[str, str]:
    bound: dict[str, str] = {}
    for colour in (f for f in matches if f.category == "colour"):
        for thing in (f for f in matches if f.category in ("subject", "part") and f.start > colour.start):
            between = tokens[colour.stop : thing.start]
            if len(between) <= 2 and not any(t in _BREAKS or t in _ENDS for t in between):
                bound.setdefault(thing.word, colour.word)
            break
    return bound
