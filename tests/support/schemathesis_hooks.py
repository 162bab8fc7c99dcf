"""Real cursors for the tests of the API's contract, which cannot make up an opaque value."""

import schemathesis
from hypothesis import strategies as st

from tools.pages import Cursor, encode

times = st.integers(min_value=0, max_value=1 << 62)
schemathesis.openapi.format(
    "cursor", st.builds(lambda at, id: encode(Cursor(at, id)), times, st.text("0123456789abcdef"))
)
