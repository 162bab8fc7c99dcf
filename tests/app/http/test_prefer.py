"""What the header `Prefer` may ask for."""

import pytest

from app.http.prefer import Wait, preferred_wait
from tools.publishing.renders import WAIT_SECONDS

AT_ONCE = {"Preference-Applied": "respond-async"}


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], Wait(WAIT_SECONDS, {})),
        (["return=minimal"], Wait(WAIT_SECONDS, {})),
        (["respond-async"], Wait(None, AT_ONCE)),
        (["Respond-Async"], Wait(None, AT_ONCE)),
        (['respond-async; x="y"'], Wait(None, AT_ONCE)),
        (["return=minimal, respond-async"], Wait(None, AT_ONCE)),
        (["return=minimal", "respond-async, wait=10"], Wait(10, {"Preference-Applied": "respond-async, wait=10"})),
        (['wait = "5", respond-async'], Wait(5, {"Preference-Applied": "respond-async, wait=5"})),
        (["respond-async, wait=0"], Wait(None, {"Preference-Applied": "respond-async, wait=0"})),
        (
            ["respond-async, wait=999999999999"],
            Wait(WAIT_SECONDS, {"Preference-Applied": f"respond-async, wait={WAIT_SECONDS:.0f}"}),
        ),
        (["respond-async, wait=soon"], Wait(None, AT_ONCE)),
        (["respond-async, wait=-1"], Wait(None, AT_ONCE)),
        (["respond-async, wait=٣"], Wait(None, AT_ONCE)),
        (["wait=10"], Wait(WAIT_SECONDS, {})),
        (["respond-asynchronously"], Wait(WAIT_SECONDS, {})),
        ([",,=;,"], Wait(WAIT_SECONDS, {})),
    ],
)
def test_how_long_a_caller_waits(headers: list[str], wanted: Wait) -> None:
    """RFC 7240: names in any case, several headers are one list, unknown preferences are ignored, and
    `Preference-Applied` names what was applied; the wait is never longer than WAIT_SECONDS."""
    assert preferred_wait(headers) == wanted
