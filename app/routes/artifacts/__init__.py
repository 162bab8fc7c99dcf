"""Artifacts: made, filled by chat, published under links, shown to guests."""
