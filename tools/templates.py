"""The packaged templates in BUCKET, under keys that name their bytes; pages are made from there."""

import hashlib

from tools import markup
from tools.env import Env
from tools.step import step


def template_key(name: str, data: bytes) -> str:
    """Where a template's bytes live: `name` without its suffix, then the SHA-256 of the bytes."""
    return f"templates/{name.removesuffix('.html')}/{hashlib.sha256(data).hexdigest()}.html"


@step("templates.publish")
async def publish_templates(env: Env) -> list[str]:
    """Put every packaged template into BUCKET and return the keys.

    Effect: write-once puts at `template_key`; repeating it changes nothing. Belongs to every start.
    Fails: Conflict when other bytes lie under a key, which only damage can cause.
    """
    names = [name for name in sorted(env.ASSETS.names()) if "/" not in name and name.endswith(".html")]
    return [await _publish(env, name, env.ASSETS.read(name)) for name in names]


@step("templates.load")
async def load_template(env: Env, name: str) -> tuple[str, bytes]:
    """The key and the bytes, from BUCKET, of this release's template `name`.

    Fails: NotFound when there is none of that name or the start did not publish it.
    """
    key = template_key(name, env.ASSETS.read(name))
    return key, await env.BUCKET.get(key)


async def _publish(env: Env, name: str, data: bytes) -> str:
    await env.BUCKET.put_once(template_key(name, data), data, content_type="text/html; charset=utf-8")
    return template_key(name, data)


def placeholders(html: str) -> list[str]:
    """The placeholders of a template in the order of their first place, each once.

    Fails: TooLarge · Invalid, as `markup.read` does.
    """
    return list(markup.read(html).placeholders)
