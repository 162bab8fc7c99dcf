from pathlib import Path

from tests.support.environment import bare_env
from tools import actor_emit
from tools.events import Progress


class Silent:
    async def wake(self, session_id: str) -> None: ...


async def test_events_get_the_next_numbers_of_their_session(tmp_path: Path) -> None:
    """Numbers are per session, 1, 2, 3 … and are read back in order."""
    async with bare_env(tmp_path, PICASSO_DO=Silent()) as env:
        told = [await actor_emit.emit(env, "s", Progress(progress=0.5, stage="generate")) for _ in range(3)]
        assert told == [1, 2, 3]
        assert await actor_emit.emit(env, "S", Progress(progress=0.5, stage="generate")) == 1
        assert [event.seq for event in await actor_emit.read(env.DB, "s", 1, 10)] == [2, 3]
