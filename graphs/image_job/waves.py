"""Which items of a job go out together, so that one that ends its workers is found and takes no other with it.

An item that saw a worker die, and came no further by it, is a suspect: it goes out after the others, and alone. One
that a worker survived with is none any more. So the counts of an innocent item stay low however often its workers are
killed from outside, and those of an item that kills grow with each try.
"""

from collections.abc import Sequence

from tools.rows import Item


def next_wave(items: Sequence[Item]) -> list[Item]:
    """The open items to send out together, in order: all that are no suspects and wait for none, else one suspect."""
    left = [item for item in items if item.ended_at is None]
    suspects = {item.id for item in left if item.deaths}
    # A duplicate ends, or is taken up, with the image that it repeats.
    ready = [item for item in left if item.duplicate_of not in suspects]
    if together := [item for item in ready if not item.deaths]:
        return together
    return sorted(ready, key=lambda item: (item.deaths, item.position))[:1]


def suspicion(idle_claims: int, items: Sequence[Item]) -> int:
    """How many workers in a row died of what a job would do next: its next wave, or what comes before, of which
    `idle_claims` died. 0 when it may run beside others."""
    return max(idle_claims, min((item.deaths for item in next_wave(items)), default=0))
