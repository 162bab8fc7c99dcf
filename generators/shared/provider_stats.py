"""Results by provider and model, counted from the ledger and the images; nothing here is estimated.

Everything counts for the provider that made the image, which is not always the one requested: a fallback may have.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from tools.reports.project_rows import Call, Image
from tools.rows import Seen

CAUSES = ("outage", "rate", "quota", "refused", "invalid", "empty", "uncertain", "closed")
"""Why a call returned no image. `uncertain`: sent, outcome unknown; `closed`: not made, the circuit was open."""
CIRCUIT_OPEN = "circuit_open"
Z95 = 1.959964


class Tally(msgspec.Struct, frozen=True):
    """Images by verdict; of those `measured` the main subject could not be judged."""

    passed: int = 0
    failed: int = 0
    unjudged: int = 0
    measured: int = 0

    @property
    def images(self) -> int:
        return self.passed + self.failed + self.unjudged + self.measured

    @property
    def judged(self) -> int:
        return self.passed + self.failed

    @property
    def pass_rate(self) -> float | None:
        """The share of the judged images that passed, to four decimals; None when none was judged, or when some were
        only measured, for then nobody knows."""
        return round(self.passed / self.judged, 4) if self.judged and not self.measured else None


def tally(verdicts: Iterable[Seen | None]) -> Tally:
    """Count the verdicts."""
    found = list(verdicts)
    return Tally(found.count("pass"), found.count("fail"), found.count(None), found.count("measured"))


class Painted(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one model of a provider. Times are milliseconds from a call's start until its image was
    stored and examined.

    `calls` were sent (those undone by a crash of ours are left out), `cost_micros` is the cost of the calls with a
    known price; `unpriced` billed calls have none and count as `ceiling_micros` in budgets; `estimated` calls are
    priced by an estimate. `stood_in` images were requested of another model; `replaced` images were requested of this
    model and made by another.
    """

    provider: str
    model: str
    verdicts: Tally
    duplicates: int
    calls: int
    milliseconds: list[int]
    failures: dict[str, int]
    cost_micros: int
    unpriced: int
    ceiling_micros: int
    estimated: int
    stood_in: int
    replaced: int

    @property
    def name(self) -> str:
        return f"{self.provider} · {self.model}" if self.model else self.provider

    @property
    def cost_per_image(self) -> int | None:
        """Micro-USD per kept image, failed calls and duplicates included; None without images, or without a price."""
        return None if self.unpriced or not self.verdicts.images else round(self.cost_micros / self.verdicts.images)


def measure(calls: Sequence[Call], images: Sequence[Image]) -> list[Painted]:
    """Every provider and model that was called or has an image, by name."""
    names = {(call.provider, call.model) for call in calls} | {(image.provider, image.model or "") for image in images}
    return [_measured(name, calls, images) for name in sorted(names)]


def _measured(name: tuple[str, str], calls: Sequence[Call], images: Sequence[Image]) -> Painted:
    own = [call for call in calls if (call.provider, call.model) == name]
    requested = [call for call in calls if (call.asked_provider, call.asked_model) == name]
    succeeded = [call for call in own if call.state == "succeeded"]
    unpriced = [call for call in own if is_unpriced(call)]
    causes = [cause(call) for call in own]
    return Painted(
        provider=name[0],
        model=name[1],
        verdicts=tally(image.seen for image in images if (image.provider, image.model or "") == name),
        duplicates=sum(call.item_status == "duplicate" for call in succeeded),
        calls=sum(call.sent_at is not None and call.state != "abandoned" for call in own),
        milliseconds=sorted(took for call in succeeded if (took := milliseconds(call)) is not None),
        failures={named: causes.count(named) for named in CAUSES},
        cost_micros=sum(call.cost_micros or 0 for call in own if not is_unpriced(call)),
        unpriced=len(unpriced),
        ceiling_micros=sum(call.cost_micros or 0 for call in unpriced),
        estimated=sum(bool(call.billed) and call.cost_basis == "estimate" for call in own),
        stood_in=sum((call.asked_provider, call.asked_model) != name for call in succeeded),
        replaced=sum(call.state == "succeeded" and (call.provider, call.model) != name for call in requested),
    )


def cause(call: Call) -> str | None:
    """Why the call returned no image; None when it did, is under way, or was interrupted by a crash of ours."""
    match call.state:
        case "failed":
            return "closed" if call.provider_code == CIRCUIT_OPEN else call.failure or "outage"
        case "refused" | "uncertain":
            return call.state
        case _:
            return None


def is_unpriced(call: Call) -> bool:
    """Whether the call was billed at an unknown price."""
    return bool(call.billed) and (call.cost_basis == "ceiling" or call.cost_micros is None)


def milliseconds(call: Call) -> int | None:
    """The duration of the call from its start to its outcome; None when it has none."""
    if call.sent_at is None or call.settled_at is None:
        return None
    return max(0, call.settled_at - call.sent_at)


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The percentile by nearest rank, which is always one of the values; None without values."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def likely(passed: int, judged: int) -> tuple[float, float]:
    """The 95 % confidence interval of the true rate (Wilson), as fractions."""
    rate, square = passed / judged, Z95**2 / judged
    middle = (rate + square / 2) / (1 + square)
    reach = Z95 / (1 + square) * math.sqrt(rate * (1 - rate) / judged + square / (4 * judged))
    return max(0.0, middle - reach), min(1.0, middle + reach)
