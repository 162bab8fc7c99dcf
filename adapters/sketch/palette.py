"""Colours of a picture: a base palette for the time of day, changed towards the colour words of the prompt."""

import random

import msgspec

from tools.media.colours import COLOURS, Family, Lch, Rgb, family_of, oklch, rgb_of
from tools.models.prompt_words import Wording

ROLES = ("sky0", "sky1", "sky2", "light", "far", "mid", "near", "dark", "water0", "water1", "accent", "paper")

_BASES: dict[str, tuple[str, ...]] = {
    "dawn": (
        "7d93b8 e3b7ae fbe3c4 fff3d8 a9a0b8 7a7898 474d70 262d48 c9b9bd 5f7195 e8755a fbf3e6",
        "8fa6c4 f0c3b4 fde8cf fff6e0 b9a7b4 8b7f9a 51587c 2b3152 d8c2c0 6f7fa3 d95f6b fdf4ea",
        "6b8aa8 c9c2c4 f7dcc0 fff0d0 93a3b2 677f92 3c5568 1f3242 b9c2c6 4f7288 e98a4e f8f1e4",
    ),
    "day": (
        "3f8fc4 8cc4de e9f2e6 fffbe6 94b8c2 6f9f86 3f7358 1f4238 6db3c4 20617f e4572e fbf7ea",
        "5aa0c8 a9d3dc f3efdc fffae0 a7bdb9 83a377 55794a 2b442f 86bfc2 2f6f84 d94f3d fdf8ec",
        "4a7fb5 93b8dc edeef0 fffdf0 9db1cc 6e93a4 3d6675 1d3a4a 7aa9cc 265a8a f0a030 f8f8f4",
        "57a6a4 a6d6c8 f6f0d8 fff9de a2c4b4 76a58c 447a68 21463f 7cc4b8 276f74 e86a4a fcf7e8",
    ),
    "golden": (
        "8fa3b5 f0c48a fde4ae fff6d2 c9a27e a0714e 6a4532 38241f e8c491 8c7a6a c8452c fdf5e2",
        "6f8ea6 eebd86 ffe0a0 fff4c8 b99a86 8a7458 574a36 2c2820 dcc29a 6e7f86 d9542e fcf3dd",
        "d98e54 f6c274 ffe9b4 fff8d8 cf9a62 a06a44 64402f 35211d f2cd90 9c6e52 3f7f8a fdf4e0",
    ),
    "sunset": (
        "3c3568 c4527a fdb361 fff2c0 94517a 643d66 37254c 1c1533 f29a6c 593a6e ffd166 fdf0dc",
        "2f3f73 e0736c ffc96f fff4c4 a86078 734468 43284e 221738 f3a878 4a3f78 f7e08a fdf1de",
        "523a7a ea6a5a ffd07a fff5cc a9566c 7a3a58 48243f 24132b f7a26a 6b3560 ffe08a fdf1dc",
        "1f4a6e e68a62 ffd98c fff6cf 8f6a7a 5a5470 2f3a58 152138 eeaa7c 2f5474 f25c4a fcf2de",
    ),
    "dusk": (
        "1e2d58 6a5f96 e8aea4 fff0d8 6d6a99 4a4b7c 2a2f58 151a38 a895b4 343f72 ffb65c f6efe8",
        "24415f 6f7fa4 eab9a0 fff1d4 6b7b9c 465b7e 273c5c 13223a a9a7b8 335476 ffc06a f5f0e6",
        "33285a 8a5f9c f0a8a8 ffeed8 7d6498 58467c 33295a 191636 b78ab4 433a78 ffc978 f6eee8",
    ),
    "night": (
        "0b1433 1d3263 4d7099 fdf6d6 2d446e 1c2f52 111f3c 091024 2f4d7a 0f1c3e ffc45c eef0f0",
        "101238 2c2f6a 6a6aa4 fdf4d8 3b3d74 262858 171a3c 0c0e26 40467e 15183c ffb56a efeef4",
        "06202e 0f4454 3f8088 fdf8dc 1f4d58 123845 0a2733 05151e 2a6068 08232f ffcf6a ecf3f0",
    ),
    "grey": (
        "8a9aa6 b4bfc4 dfe2de f6f4ea 9fabb0 74858c 4a5b62 283439 a9b6ba 566a74 d9683a f4f2ec",
        "77828f a6abb4 d8d4d0 f5f0e6 979aa4 6f747f 474d58 272c35 a1a6ae 525c69 e0a03a f3f0ea",
    ),
    "storm": (
        "232f3d 4c6070 a7b4b0 eef0dc 586b76 3a4b57 22303a 111a21 6b8288 1e3440 e8b34a e9ece6",
        "2a2a40 585874 b3a9b0 f3ead8 5f5f78 42425a 282840 141424 70728c 24243e f0a24a ece9ea",
    ),
}


class Palette(msgspec.Struct, frozen=True):
    """One colour for every role, and the colours that the prompt gives to single things."""

    roles: dict[str, Rgb]
    bound: dict[str, Rgb]
    dark: bool
    """Whether light sources and lit windows should glow."""

    def __getitem__(self, role: str) -> Rgb:
        return self.roles[role]

    def of(self, thing: str, role: str) -> Rgb:
        """The colour the prompt gave the thing, else the role's."""
        return self.bound[thing] if thing in self.bound else self.roles[role]


def mix_palette(wording: Wording, rng: random.Random) -> Palette:
    """The colours for this prompt; they vary with `rng` within what the words allow."""
    hour = hour_of(wording)
    codes = ((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in rng.choice(_BASES[hour]).split())
    roles = dict(zip(ROLES, codes, strict=True))
    shown = {thing: word for thing, word in wording.bound.items() if _has_own_colour(thing, wording)}
    free = [COLOURS[c] for c in wording.colours if c not in shown.values()]
    shift = rng.uniform(-16, 16)
    roles = {role: _turn(rgb, shift) for role, rgb in roles.items()} if not free else roles
    if free:
        deep = 0.82 if "deep" in wording.tone else 1.0
        roles = _towards(roles, [(light * deep, c, h) for light, c, h in (oklch(colour.rgb) for colour in free)], rng)
    seasoned = _season(roles, wording, bool(free))
    roles = dict(seasoned)
    for thing, word in wording.bound.items():
        for i, role in enumerate(_BOUND_ROLES.get(thing, ())):
            roles[role] = _blend(seasoned[role], oklch(COLOURS[word].rgb), 0.85 - 0.2 * i, 0.95, 0)
    roles = {role: _toned(role, rgb, wording) for role, rgb in roles.items()}
    roles = _without(roles, wording)
    bound: dict[str, Rgb] = {}
    for thing, word in wording.bound.items():
        lightness, chroma, hue = oklch(COLOURS[word].rgb)
        bound[thing] = rgb_of((lightness + rng.uniform(-0.025, 0.025), chroma, hue + rng.uniform(-5, 5)))
    return Palette(roles, bound, oklch(roles["sky1"])[0] < 0.55)


def hour_of(wording: Wording) -> str:
    """The base palette: the time of day in the prompt, else the one that weather and mood suggest."""
    if "storm" in wording.weather or "stormy" in wording.mood:
        return "storm"
    if wording.time:
        return wording.time[0]
    if "aurora" in wording.weather or {"star", "space"} & {*wording.subject} or {"eerie"} & {*wording.mood}:
        return "night"
    if "moon" in wording.subject or "neon" in wording.tone or "dark" in wording.tone:
        return "night"
    if {"fog", "rain", "cloud"} & {*wording.weather} or "melancholic" in wording.mood:
        return "grey"
    by_mood = {"dramatic": "sunset", "cosy": "golden", "mysterious": "dusk", "romantic": "dawn", "joyful": "day"}
    if suggested := next((by_mood[mood] for mood in wording.mood if mood in by_mood), ""):
        return suggested
    if "warm" in wording.tone or "autumn" in wording.season or "desert" in wording.subject:
        return "golden"
    return "dawn" if {"calm", "minimal"} & {*wording.mood} or "soft" in wording.tone else "day"


_OWN_COLOUR = frozenset(
    {"boat", "bird", "cat", "dog", "fish", "flower", "cup", "fruit", "balloon", "lighthouse", "bridge", "house", "tree"}
)
"""Things painted in the colour that the prompt gives them; those of `_BOUND_ROLES` change the palette instead."""
_WORN_BY = {
    "clothes": {"portrait", "man", "person"},
    "hair": {"portrait", "man"},
    "roof": {"house", "village"},
    "leaves": {"tree", "forest"},
    "sail": {"boat"},
}
_BOUND_ROLES = {
    "sky": ("sky0", "sky1", "sky2"),
    "background": ("sky0", "sky1", "sky2"),
    "sea": ("water0", "water1"),
    "lake": ("water0", "water1"),
    "water": ("water0", "water1"),
    "river": ("water0", "water1"),
    "mountain": ("far", "mid"),
    "hill": ("mid", "near"),
    "forest": ("far", "mid", "near"),
    "desert": ("far", "mid", "near"),
    "city": ("far", "mid", "near"),
    "moon": ("light",),
    "sun": ("light",),
}


def _has_own_colour(thing: str, wording: Wording) -> bool:
    """Whether the thing is in the picture, so that its colour is not one for the whole palette."""
    if thing in _WORN_BY:
        return not _WORN_BY[thing].isdisjoint(wording.subject)
    return thing in _BOUND_ROLES or thing in _OWN_COLOUR


def _towards(roles: dict[str, Rgb], anchors: list[Lch], rng: random.Random) -> dict[str, Rgb]:
    """Give every role hue and chroma of one of the requested colours; it keeps most of its lightness."""
    groups = (("sky0", "sky1", "sky2"), ("mid", "near", "dark"), ("water0", "water1"), ("far",), ("accent", "light"))
    order = anchors[:]
    if len(order) > 1 and rng.random() < 0.4:
        order[0], order[1] = order[1], order[0]
    chosen = {role: order[i % len(order)] for i, group in enumerate(groups) for role in group}
    if len(order) == 1:
        chosen["accent"] = order[0]
    spread = rng.uniform(-14, 14)
    out = dict(roles)
    for role, anchor in chosen.items():
        if role == "light" and len(order) < 3:
            out[role] = _blend(roles[role], anchor, 0.25, 0.4, 0)
            continue
        pull = 0.62 if role in ("sky1", "mid", "accent") else 0.55 if len(order) == 1 else 0.42
        turn = spread * {"sky2": 1.0, "far": 0.6, "sky0": -0.6, "dark": -0.8}.get(role, 0.3)
        out[role] = _blend(roles[role], anchor, pull, 0.9, turn)
    return out


def _blend(base: Rgb, anchor: Lch, lightness: float, chroma: float, turn: float) -> Rgb:
    l0, c0, _ = oklch(base)
    l1, c1, h1 = anchor
    light = l0 + (l1 - l0) * lightness
    return rgb_of((light, c0 + (c1 - c0) * chroma, (h1 + (turn if c1 > 0.03 else 0)) % 360))


def _season(roles: dict[str, Rgb], wording: Wording, coloured: bool) -> dict[str, Rgb]:
    if coloured or not (wording.season or "snow" in wording.weather):
        return roles
    season = "winter" if "snow" in wording.weather else wording.season[0]
    hues = {"spring": (135.0, 0.09), "summer": (140.0, 0.11), "autumn": (62.0, 0.11), "winter": (250.0, 0.03)}
    hue, chroma = hues[season]
    out = dict(roles)
    for role, turn in (("far", -12), ("mid", 0), ("near", 32 if season == "autumn" else 4)):
        lightness, _, _ = oklch(roles[role])
        out[role] = _blend(roles[role], (lightness, chroma, hue + turn), 1.0, 0.6, 0)
    if season == "winter":
        for role, lift in (("far", 0.16), ("mid", 0.3), ("near", 0.36)):
            lightness, chroma, h = oklch(out[role])
            out[role] = rgb_of((min(lightness + lift, 0.95), chroma * 0.7, h))
    return out


def _toned(role: str, rgb: Rgb, wording: Wording) -> Rgb:
    lightness, chroma, hue = oklch(rgb)
    for tone in wording.tone:
        if tone == "pastel":
            lightness, chroma = 0.66 + 0.32 * lightness if role != "dark" else 0.5, min(chroma * 0.75, 0.085)
        elif tone == "neon":
            lit = role in ("accent", "light", "sky2", "water0", "far")
            lightness, chroma = (max(lightness, 0.68), 0.26) if lit else (lightness * 0.55, chroma + 0.05)
            hue = {"accent": 350.0, "sky2": 330.0, "water0": 200.0, "far": 300.0}.get(role, hue)
        elif tone == "muted":
            chroma *= 0.5
        elif tone == "vibrant":
            chroma *= 1.45
        elif tone == "dark":
            lightness *= 0.8
        elif tone == "bright":
            lightness = lightness + (1 - lightness) * 0.3
        elif tone == "warm":
            hue, chroma = _lean(hue, 60, 0.45), chroma + 0.02
        elif tone == "cool":
            hue, chroma = _lean(hue, 240, 0.45), chroma + 0.015
        elif tone == "soft":
            lightness = 0.5 + (lightness - 0.5) * 0.72 + 0.05
        elif tone == "contrast":
            lightness = min(max(0.5 + (lightness - 0.5) * 1.3, 0.05), 0.98)
    if "melancholic" in wording.mood:
        chroma *= 0.75
    if "joyful" in wording.mood:
        chroma, lightness = chroma * 1.2, lightness + (1 - lightness) * 0.1
    return rgb_of((lightness, chroma, hue))


def _without(roles: dict[str, Rgb], wording: Wording) -> dict[str, Rgb]:
    """Turn the hues of roles in an unwanted colour together until they are in another one; else make them grey."""
    unwanted = unwanted_families(wording)
    offending = [rgb for rgb in roles.values() if family_of(rgb) in unwanted]
    if not offending:
        return roles
    steps = (40, -40, 70, -70, 100, -100, 140, 180)
    best = min(steps, key=lambda step: sum(family_of(_turn(rgb, step)) in unwanted for rgb in offending))
    turned = {role: _turn(rgb, best) if rgb in offending else rgb for role, rgb in roles.items()}
    return {role: _grey(rgb) if family_of(rgb) in unwanted else rgb for role, rgb in turned.items()}


def unwanted_families(wording: Wording) -> set[Family]:
    """The colour families that the prompt excludes and no requested colour needs."""
    unwanted = {family for word in wording.excluded if word in COLOURS for family in COLOURS[word].families}
    return unwanted - {family for word in wording.colours for family in COLOURS[word].families}


def another(rgb: Rgb, unwanted: set[Family]) -> Rgb:
    """The colour, or one of equal lightness outside of these families."""
    turned = (_turn(rgb, step) for step in (0, 40, -40, 70, -70, 100, 180))
    return next((candidate for candidate in turned if family_of(candidate) not in unwanted), _grey(rgb))


def _turn(rgb: Rgb, degrees: float) -> Rgb:
    lightness, chroma, hue = oklch(rgb)
    return rgb_of((lightness, chroma, hue + degrees))


def _grey(rgb: Rgb) -> Rgb:
    return rgb_of((oklch(rgb)[0], 0.0, 0.0))


def _lean(hue: float, target: float, share: float) -> float:
    away = (target - hue + 180) % 360 - 180
    return (hue + away * share) % 360
