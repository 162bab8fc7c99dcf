from pathlib import Path

import pytest

from app.bindings.ai import open_ai
from app.settings import SettingError
from tests.parts import settings
from tools.errors import Invalid


async def test_keys_and_one_client_are_there_and_the_client_is_closed(tmp_path: Path) -> None:
    """AI has the vendors' settings that are set and an HTTP client with deadlines that no proxy variable touches."""
    async with open_ai(settings(tmp_path, OPENAI_API_KEY="k", VENDOR_SECONDS="7")) as models:
        assert dict(models.keys) == {"OPENAI_API_KEY": "k"}
        assert (models.http.timeout.read, models.http.timeout.connect) == (7.0, 10.0)
        assert models.http.trust_env is False
        with pytest.raises(Invalid, match="builtin"):
            models.chat_model("builtin")
    assert models.http.is_closed


@pytest.mark.parametrize("name", ["DEFAULT_MODEL_REASONING", "DEFAULT_MODEL_VISION"])
async def test_a_model_that_is_not_in_this_build_stops_the_start(tmp_path: Path, name: str) -> None:
    """The message opens with the setting and names the models there are."""
    with pytest.raises(SettingError, match=rf"^{name} is openai:gpt-x, but this build has only: builtin$"):
        async with open_ai(settings(tmp_path, **{name: "openai:gpt-x"})):
            raise AssertionError("opened")
