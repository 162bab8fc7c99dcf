"""Views of published pages: one queue message per view, one row per message, and counts of the rows.

How much of an IP address is kept is decided here, before the message exists, so no queue, log or table contains a
full address unless VIEW_IP=full asks for it.
"""

import hmac
import ipaddress
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tools.env import Env, Message, Statements, Value
from tools.errors import Invalid, PicassoError, Uncertain
from tools.ledger import workflows
from tools.rows import dump, new_id, now_ms
from tools.step import log_fields, step

log = logging.getLogger("picasso.queue")
Keeping = Literal["truncated", "full", "hashed", "none"]

INSERT = """
INSERT INTO artifact_views (id, artifact_id, timestamp, ip_address, country, city, user_agent, bot)
SELECT CAST(:id AS TEXT), id, CAST(:timestamp AS BIGINT), CAST(:ip_address AS TEXT), CAST(:country AS TEXT),
    CAST(:city AS TEXT), CAST(:user_agent AS TEXT), CAST(:bot AS BIGINT)
FROM artifacts WHERE id = :artifact_id
ON CONFLICT (id) DO NOTHING
"""
WRITTEN_SQLITE = "SELECT id FROM artifact_views WHERE id IN (SELECT value FROM json_each(:ids))"
WRITTEN_POSTGRESQL = """
SELECT id FROM artifact_views WHERE id IN (SELECT json_array_elements_text(CAST(CAST(:ids AS TEXT) AS JSON)))
"""
BY_DAY = """
SELECT timestamp / 86400000 AS day, COUNT(*) AS views, CAST(SUM(bot) AS BIGINT) AS bots FROM artifact_views
WHERE artifact_id = :artifact_id GROUP BY timestamp / 86400000 ORDER BY day
"""
BY_COUNTRY = """
SELECT COALESCE(country, 'unknown') AS country, COUNT(*) AS views FROM artifact_views
WHERE artifact_id = :artifact_id GROUP BY COALESCE(country, 'unknown') ORDER BY views DESC, country
"""
CRAWLERS = re.compile(
    r"\b(?:adsbot-google|ahrefsbot|amazonbot|applebot|archive\.org_bot|baiduspider|bingbot|bingpreview|bytespider|ccbot|"
    r"chatgpt-user|claude-searchbot|claude-user|claudebot|cohere-ai|dataforseobot|discordbot|dotbot|duckassistbot|"
    r"duckduckbot|embedly|facebookbot|facebookexternalhit|feedfetcher-google|google-extended|google-inspectiontool|"
    r"google-read-aloud|googlebot(?:-[a-z]+)?|googleother|gptbot|ia_archiver|iframely|linkedinbot|mastodon|"
    r"mediapartners-google|meta-external(?:agent|fetcher)|mj12bot|oai-searchbot|perplexity-user|perplexitybot|petalbot|"
    r"pinterestbot|qwantbot|redditbot|semrushbot|seznambot|skypeuripreview|slack-imgproxy|slackbot(?:-linkexpanding)?|"
    r"slurp|storebot-google|telegrambot|twitterbot|whatsapp|yandex[a-z]*bot|yisouspider)\b",
    re.IGNORECASE,
)
"""Names of crawlers and link previewers as their operators published them; read on 2026-11-21. Other programs (curl, a
script) count as readers."""


class View(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The payload of an `artifact-view` message. `ip` is what VIEW_IP leaves of the address."""

    artifact_id: str
    ip: str | None
    country: str | None
    city: str | None
    user_agent: str | None


class DayCount(msgspec.Struct, frozen=True):
    """`day` is a UTC date, YYYY-MM-DD."""

    day: str
    views: int


class CountryCount(msgspec.Struct, frozen=True):
    """`country` is the code that the proxy sent, or `unknown`."""

    country: str
    views: int


class Summary(msgspec.Struct, frozen=True, rename="camel"):
    """Days with at least one view from the oldest; countries from the most frequent. `bots` counts the
    views in `total` whose user agent names a known crawler."""

    total: int
    bots: int
    by_day: list[DayCount]
    by_country: list[CountryCount]


class _Day(msgspec.Struct, frozen=True):
    day: int
    views: int
    bots: int


class _Written(msgspec.Struct, frozen=True):
    id: str


def is_crawler(user_agent: str | None) -> bool:
    """Whether the user agent names a known crawler."""
    return user_agent is not None and CRAWLERS.search(user_agent) is not None


def message(view: View) -> Message:
    """The queue message of a view at the present time. Its id becomes the row's, so a redelivery adds no row."""
    return Message(id=new_id(), type="artifact-view", ts=now_ms(), payload=msgspec.to_builtins(view))


def kept_ip(ip: str | None, how: Keeping, secret: str | None, at_ms: int) -> str | None:
    """What is stored of an address: its /24 or /48, all of it, a hash that is stable for one UTC day, or None.

    `hashed` without a secret stores nothing.
    """
    if ip is None or how == "none":
        return None
    if how == "full":
        return ip
    if how == "hashed":
        return hmac.digest(_day_key(secret, at_ms), ip.encode(), "sha256").hex()[:32] if secret else None
    address = ipaddress.ip_address(ip)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


@step("views.enqueue")
async def enqueue(env: Env, view: Message) -> None:
    """Send the view to the queue and wait 50 ms at most; a late one is written later, not lost.

    Effect: one message in PICASSO_QUEUE, or in its buffer in this process.
    Fails: Uncertain (`view_dropped`, which the metrics count) when the buffer is full; the page is served regardless.
    """
    try:
        await env.PICASSO_QUEUE.send_soon(view)
    except PicassoError as error:
        raise Uncertain("the view could not be buffered and was dropped", code="view_dropped") from error


@step("views.write")
async def write_views(env: Env, messages: Sequence[Message]) -> None:
    """Handle a batch of queue messages: views become rows, `log` and `workflow-complete` one log line each.

    Effect: one transaction with a row per `artifact-view` and a mark per workflow; a message that was written before
    changes nothing, and a marked workflow gets no second line.
    Fails: Invalid naming the messages that can never be handled; the other rows are written regardless.
    """
    finished: list[Message] = []
    async with env.DB.transaction() as tx:
        bad = await _write_rows(tx, [message for message in messages if message.type == "artifact-view"])
        for message in (each for each in messages if each.type == "workflow-complete"):
            match await workflows.note(tx, message):
                case "unknown":
                    bad.append(message.id)
                case "first":
                    finished.append(message)
    # After the transaction, because a failed batch is delivered again, and a log line cannot be rolled back.
    for message in finished:
        _log_message(message)
    if bad:
        detail = {"messages": bad}
        raise Invalid("these messages name no known artifact or workflow result", code="bad_message", detail=detail)
    for message in messages:
        if message.type == "log":
            _log_message(message)


def _log_message(message: Message) -> None:
    named = {"step": f"queue.{message.type}", "messageId": message.id, "payload": message.payload}
    log.info("queue.%s", message.type, extra={"fields": {**log_fields(), **named}})


async def summary(env: Env, artifact_id: str) -> Summary:
    """The artifact's views: in total, per UTC day and per country."""
    days = await env.DB.all(BY_DAY, _Day, artifact_id=artifact_id)
    return Summary(
        total=sum(day.views for day in days),
        bots=sum(day.bots for day in days),
        by_day=[DayCount(datetime.fromtimestamp(day.day * 86_400, UTC).date().isoformat(), day.views) for day in days],
        by_country=await env.DB.all(BY_COUNTRY, CountryCount, artifact_id=artifact_id),
    )


async def _write_rows(tx: Statements, messages: Sequence[Message]) -> list[str]:
    """Write the views and return the ids of the messages that name no known artifact."""
    if not messages:
        return []
    await tx.many(INSERT, [row for message in messages for row in _rows(message)])
    written = WRITTEN_SQLITE if tx.dialect == "sqlite" else WRITTEN_POSTGRESQL
    known = {row.id for row in await tx.all(written, _Written, ids=dump([message.id for message in messages]))}
    return [message.id for message in messages if message.id not in known]


def _rows(message: Message) -> list[dict[str, Value]]:
    """The row of a view, in a list; empty when the payload is no view."""
    try:
        view = msgspec.convert(message.payload, View, strict=True)
    except msgspec.ValidationError:
        return []
    return [
        {
            "id": message.id,
            "artifact_id": view.artifact_id,
            "timestamp": message.ts,
            "ip_address": view.ip,
            "country": view.country,
            "city": view.city,
            "user_agent": view.user_agent,
            "bot": int(is_crawler(view.user_agent)),
        }
    ]


def _day_key(secret: str, at_ms: int) -> bytes:
    day = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
    return hmac.digest(secret.encode(), f"views/{day}".encode(), "sha256")
