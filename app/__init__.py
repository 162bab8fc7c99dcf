"""The shell: processes, HTTP, bindings."""

from app.settings import make_langgraph_strict

make_langgraph_strict()  # here, because it has to come before any import of langgraph
