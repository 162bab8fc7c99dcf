"""How long a test waits for an event before it gives up.

A deadline ends a test that would hang; it measures nothing. So it is longer than the slowest machine needs, and no test
asserts how long something took: that is the purpose of `tests/bench/`.
"""

LONG = 240.0
"""Seconds for one awaited event."""

HANG = {"VENDOR_SECONDS": "10"}
"""Settings for a vendor that never answers, where the deadline is what ends the call. What comes before the call takes
part of these seconds; all other tests have the long default."""
