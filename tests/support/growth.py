"""How the work of a function grows with its input, whatever the machine's speed."""

import gc
import time
from collections.abc import Callable

UNNOTICED = 0.05
"""CPU seconds under which nothing is measured: below that a clock's grain weighs more than the work."""
TRIES = 6


def cpu_seconds(work: Callable[[str], object], text: str) -> float:
    gc.disable()  # a full collection costs what the whole process holds
    try:
        started = time.process_time()
        work(text)
        return time.process_time() - started
    finally:
        gc.enable()


def grows_with_its_input(work: Callable[[str], object], text: str) -> bool:
    """Whether twice the text takes about twice the work: quadratic work would take four times, backtracking more.

    Both are measured in the same run, so a slow machine makes no difference; the least of several tries counts.
    """
    whole = half = float("inf")
    for _ in range(TRIES):
        whole = min(whole, cpu_seconds(work, text))
        if whole < UNNOTICED:
            return True
        half = min(half, cpu_seconds(work, text[: len(text) // 2]))
        if whole < 3 * half:
            return True
    return False
