from tools.errors import Unavailable
from tools.step import TRIES, step


async def test_a_paid_effect_is_tried_once_and_a_free_one_again() -> None:
    """`retry=False` calls it once; without it `Unavailable` is tried `TRIES` times."""
    calls = {"paid": 0, "free": 0}

    @step("test.paid", retry=False)
    async def paid() -> None:
        calls["paid"] += 1
        raise Unavailable("busy")

    @step("test.free")
    async def free() -> None:
        calls["free"] += 1
        raise Unavailable("busy", retry_after=0.001)

    for effect in (paid, free):
        try:
            await effect()
        except Unavailable as error:
            assert error.code == "unavailable"
    assert calls == {"paid": 1, "free": TRIES}
