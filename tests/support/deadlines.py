"""How long tests wait for what must happen.

A deadline ends a test that would hang; it never measures. So it is longer than the slowest machine needs, and no test
asserts how long something took: that is what `tests/bench/` is for.
"""

LONG = 120.0
"""Seconds for one awaited event."""
