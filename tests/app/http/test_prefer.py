"""What the header `Prefer` may ask for."""

import pytest

from app.http.prefer import Patience, patience
from tools.publishing.renders import WAIT_SECONDS

AT_ONCE = {"Preference-Applied": "respond-async"}


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], Patience(WAIT_SECONDS, {})),
        (["return=minimal"], Patience(WAIT_SECONDS, {})),
        (["respond-async"], Patience(None, AT_ONCE)),
        (["Respond-Async"], Patience(None, AT_ONCE)),
        (['respond-async; x="y"'], Patience(None, AT_ONCE)),
        (["return=minimal, respond-async"], Patience(None, AT_ONCE)),
        (["return=minimal", "respond-async, wait=10"], Patience(10, {"Preference-Applied": "respond-async, wait=10"})),
        (['wait = "5", respond-async'], Patience(5, {"Preference-Applied": "respond-async, wait=5"})),
        (["respond-async, wait=0"], Patience(None, {"Preference-Applied": "respond-async, wait=0"})),
        (
            ["respond-async, wait=999999999999"],
            Patience(WAIT_SECONDS, {"Preference-Applied": f"respond-async, wait={WAIT_SECONDS:.0f}"}),
        ),
        (["respond-async, wait=soon"], Patience(None, AT_ONCE)),
        (["respond-async, wait=-1"], Patience(None, AT_ONCE)),
        (["respond-async, wait=٣"], Patience(None, AT_ONCE)),
        (["wait=10"], Patience(WAIT_SECONDS, {})),
        (["respond-asynchronously"], Patience(WAIT_SECONDS, {})),
        ([",,=;,"], Patience(WAIT_SECONDS, {})),
    ],
)
def test_how_long_a_caller_waits(headers: list[str], wanted: Patience) -> None:
    """RFC 7240: names in any case, several headers are one list, what is not understood is passed by, and what is
    applied is said; nobody waits longer than the house does."""
    assert patience(headers) == wanted
