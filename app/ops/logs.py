"""Log lines on stderr: one JSON object per event, or a readable line on a terminal.

A line never contains a configured secret, text over 200 characters or a raw control character. A separate thread
writes the lines from a bounded queue, so that a slow or full output delays nothing else.
"""

import collections
import contextlib
import functools
import json
import logging
import math
import re
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TextIO

from tools.step import log_fields

CHATTY = {
    "uvicorn": logging.ERROR,  # it warns at every malformed request
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "docket": logging.WARNING,
    "botocore": logging.WARNING,
    "boto3": logging.WARNING,
    "urllib3": logging.WARNING,
    "langchain": logging.WARNING,
    "openai": logging.WARNING,
    "google_genai": logging.WARNING,
}
"""The lowest level at which lines of a library are written."""

LONGEST_TEXT = 200
SHORT_TEXT, KNOWN_TEXTS = 64, 1024
LONGEST_TRACE = 8000
BACKLOG = 10_000
BATCH_SECONDS = 0.02
"""How long the writing thread collects lines before it writes: waking it for each costs more than the line."""
BATCH_LINES = 100
"""Lines that are written at once at most."""
HIDDEN = "[hidden]"
KEY_LIKE = re.compile(
    r"sk-[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{20,}|A[KS]IA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/=-]{8,})"
    r"|(?i:(?<=[?&]key=)[^&\s\"']+|(?<=api_key=)[^&\s\"']+|(?<=token=)[^&\s\"']+|(?<=signature=)[^&\s\"']+)"
    r"|(?<=://)[^/@\s]*:[^/@\s]*(?=@)"
)
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Redaction:
    """Hides secrets in what is logged: the configured ones, and everything that looks like a key."""

    def __init__(self, secrets: Iterable[str]) -> None:
        longest_first = sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._known = functools.lru_cache(KNOWN_TEXTS)(self._hidden)

    def text(self, text: str) -> str:
        """The text without secrets, cut to LONGEST_TEXT characters."""
        # Short texts, such as names of steps and fields, repeat all the time, so their results are cached.
        return self._known(text) if len(text) <= SHORT_TEXT else self._hidden(text)

    def _hidden(self, text: str) -> str:
        hidden = KEY_LIKE.sub(HIDDEN, self._secrets.sub(HIDDEN, text))
        return hidden if len(hidden) <= LONGEST_TEXT else hidden[: LONGEST_TEXT - 1] + "…"

    def value(self, value: Any) -> Any:
        """A JSON-plain value without secrets; other values are replaced by the name of their type."""
        match value:
            case str():
                return self.text(value)
            case float():
                return value if math.isfinite(value) else str(value)
            case None | bool() | int():
                return value
            case bytes():
                return f"[{len(value)} bytes]"
            case dict():
                return {self.text(key): self.value(item) for key, item in value.items() if isinstance(key, str)}
            case list() | tuple() | set() | frozenset():
                return [self.value(item) for item in value]
        return f"[{type(value).__name__}]"

    def message(self, record: logging.LogRecord) -> str:
        """The record's message without secrets."""
        try:
            return self.text(record.getMessage())
        except (TypeError, ValueError, KeyError):
            return self.text(str(record.msg))

    def trace(self, record: logging.LogRecord) -> str:
        """The record's traceback without secrets, each line cut like any other text."""
        assert record.exc_info is not None
        lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
        return "\n".join(self.text(line) for line in lines)[-LONGEST_TRACE:]


class JsonLines(logging.Formatter):
    """`{"ts", "level", "msg", …fields}`, one line per record."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": int(record.created * 1000),
            "level": record.levelname.lower(),
            "msg": self._redaction.message(record),
        }
        for name, value in fields_of(record).items():
            line.setdefault(self._redaction.text(name), self._redaction.value(value))
        if record.exc_info:
            line["trace"] = self._redaction.trace(record)
        return UNSAFE.sub(_escaped, json.dumps(line, ensure_ascii=False))


class ConsoleLines(logging.Formatter):
    """A line for people: time, level, message, fields."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        colour = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}.get(record.levelname, "2")
        fields = {name: value for name, value in fields_of(record).items() if value is not None and name != "step"}
        facts = " ".join(f"{name}={self._redaction.value(value)}" for name, value in fields.items())
        text = UNSAFE.sub(_escaped, f"{self._redaction.message(record)}  {facts}".rstrip())
        line = f"\033[{colour}m{at} {record.levelname.lower():<7}\033[0m {text}"
        if record.exc_info:
            trace = self._redaction.trace(record).split("\n")
            line += "".join(f"\n    {UNSAFE.sub(_escaped, part)}" for part in trace)
        return line


class Sink(logging.Handler):
    """Queues records for a writing thread; records that do not fit into the queue are dropped and counted."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream, self._backlog = stream, collections.deque[logging.LogRecord]()
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._woken, self._ending = threading.Event(), False
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record, with the log fields of the current context."""
        record.__dict__["fields"] = {**log_fields(), **fields_of(record)}
        if len(self._backlog) >= BACKLOG:
            self.dropped += 1
            return
        self._backlog.append(record)
        if not self._woken.is_set():
            self._woken.set()

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, for at most two seconds."""
        self._ending = True
        self._woken.set()
        self._thread.join(timeout=2)

    def _write_all(self) -> None:
        ending = False
        while not ending:
            self._woken.wait()
            time.sleep(BATCH_SECONDS)
            # Both before the lines are taken, so that a line that arrives later wakes this thread again.
            self._woken.clear()
            ending = self._ending
            while self._backlog:
                self._write([self._backlog.popleft() for _ in range(min(BATCH_LINES, len(self._backlog)))])
                if self.dropped:
                    dropped, self.dropped = self.dropped, 0
                    message = f"{dropped} log lines were dropped"
                    self._write([logging.LogRecord("picasso.logs", logging.WARNING, "", 0, message, None, None)])

    def _write(self, records: Sequence[logging.LogRecord]) -> None:
        try:
            self._stream.write("".join(f"{self.format(record)}\n" for record in records))
            self._stream.flush()
        except (OSError, ValueError):
            self.dropped += len(records)


@contextlib.contextmanager
def logging_to(stream: TextIO, secrets: Iterable[str]) -> Iterator[None]:
    """Write this process's log lines to the stream while the block runs: JSON, or readable lines on a terminal."""
    redaction = Redaction(secrets)
    sink = Sink(stream, ConsoleLines(redaction) if stream.isatty() else JsonLines(redaction))
    root = logging.getLogger()
    before = root.level
    root.addHandler(sink)
    root.setLevel(logging.INFO)
    for name, level in CHATTY.items():
        logging.getLogger(name).setLevel(level)
    sink.start()
    try:
        yield
    finally:
        root.removeHandler(sink)
        root.setLevel(before)
        sink.stop()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The structured fields of a record."""
    fields = record.__dict__.get("fields")
    return {name: value for name, value in fields.items() if isinstance(name, str)} if isinstance(fields, dict) else {}


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
