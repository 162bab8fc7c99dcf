"""Filling an artifact by a form: the same choices as a chat saves, without a model."""

from collections.abc import Mapping
from typing import Any

from generators.option_fields import standing_texts
from graphs.chat.brief import missing_of, placeholders_of
from graphs.chat.session import WAIT_SECONDS, fillable
from graphs.chat.tools import value_of
from tools import db
from tools.db import Chosen
from tools.env import Env
from tools.errors import Invalid, LeaseLost, PicassoError, Unavailable
from tools.publishing import chats
from tools.rows import new_id


async def fill_in(env: Env, artifact_id: str, session_id: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Give placeholders, or options of a generator, these texts; an image is named by its delivery URL, an empty text
    clears. All of one call are one choice of the session's chat, which an undo there takes back.
    Returns `missing` and `configuration` as they are then.

    Effect: configuration and history in one transaction; nothing when one of the values cannot be taken.
    Fails: NotFound · Invalid (`not_fillable`, or `invalid_value` naming each field) · Conflict (`chat_busy`) ·
    Unavailable.
    """
    artifact = await fillable(env, artifact_id)
    try:
        async with chats.holding(env, artifact_id, session_id, wait=WAIT_SECONDS) as lease:
            now = await placeholders_of(env, artifact, await db.get_choices(env, artifact.id))
            known = {placeholder.name: placeholder for placeholder in now}
            chosen, problems = dict[str, Chosen | None](), list[dict[str, str]]()
            for key, text in values.items():
                try:
                    chosen[key] = await value_of(env, artifact, [], known, key, text)
                except (Unavailable, LeaseLost):
                    raise
                except PicassoError as error:
                    problems.append({"field": f"values.{key}", "problem": error.message})
            if problems:
                detail = {"errors": problems}
                raise Invalid("some of these values cannot be taken", code="invalid_value", detail=detail)
            await chats.choose(env, lease, new_id(), chosen, standing_texts(artifact))
            filled = await placeholders_of(env, artifact, await db.get_choices(env, artifact.id))
            return {"missing": missing_of(filled), "configuration": await db.get_config(env, artifact.id)}
    except LeaseLost:
        raise Unavailable("this chat went on elsewhere; send this again", code="chat_moved") from None
