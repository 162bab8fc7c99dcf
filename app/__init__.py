"""The shell: processes, HTTP, bindings."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a newer Python installs us, an older one may still be told to run us
    sys.exit("picasso: Python 3.11 or newer is needed, and this is " + sys.version.partition(" ")[0])

from app.settings import make_langgraph_strict

make_langgraph_strict()  # here, because it has to come before any import of langgraph
