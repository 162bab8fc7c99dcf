"""Which items go out together, decided from how many workers died with them."""

import pytest

from graphs.image_job.waves import next_wave, suspicion
from tools.rows import Item


def item(position: int, deaths: int = 0, *, over: bool = False, repeats: int | None = None) -> Item:
    return Item(
        id=str(position),
        job_id="j",
        position=position,
        provider="toy",
        model="toy-1",
        variant_index=position,
        seed=position,
        status="failed" if over else "running",
        stage=None,
        progress=0.0,
        original_r2_key=None,
        phash=None,
        duplicate_of=None if repeats is None else str(repeats),
        progression_id=None,
        error=None,
        created_at=1,
        started_at=1,
        ended_at=2 if over else None,
        reserved_micros=0,
        preview_url=None,
        deaths=deaths,
    )


@pytest.mark.parametrize(
    ("rows", "wave", "alone"),
    [
        pytest.param([item(0), item(1), item(2, over=True)], ["0", "1"], 0, id="all that are open"),
        pytest.param([item(0, 1), item(1), item(2, 5)], ["1"], 0, id="those that saw no death, first"),
        pytest.param([item(0, 2), item(1, 1), item(2, 1)], ["1"], 1, id="then one suspect, the one with fewest deaths"),
        pytest.param([item(0, over=True), item(1, 6)], ["1"], 6, id="the last one, to be given up"),
        pytest.param([item(0, 1), item(1, repeats=0)], ["0"], 1, id="a suspect before the duplicate that waits for it"),
        pytest.param([item(0, 2), item(1, 1, repeats=0)], ["0"], 2, id="also when both are suspects"),
        pytest.param([item(0), item(1, repeats=0)], ["0", "1"], 0, id="a duplicate beside the image that it repeats"),
        pytest.param([item(0, over=True)], [], 0, id="nothing is left"),
    ],
)
def test_suspects_go_out_after_the_others_and_alone(rows: list[Item], wave: list[str], alone: int) -> None:
    assert [each.id for each in next_wave(rows)] == wave
    assert suspicion(0, rows) == alone


def test_a_job_whose_workers_died_before_any_item_went_out_is_a_suspect_itself() -> None:
    assert suspicion(3, [item(0), item(1, 1)]) == 3
