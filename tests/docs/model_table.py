"""The table of what each vendor can do, from the catalogue; `python -m tests.docs.model_table` writes it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from tools.models.catalog import ImageModel, catalog
from tools.rows import Kind

PAGE = Path(__file__).parents[2] / "templates" / "docs" / "vendors.md"
KINDS: tuple[Kind, ...] = get_args(Kind)
HEAD = ("model", *KINDS, "mask", "references", "seed", "negative prompt", "sizes", "until")


def vendors() -> str:
    """The whole table as Markdown, from its head to the newline after its last row."""
    rows = [_line(HEAD), _line(["---"] * len(HEAD))]
    provider = ""
    for model in catalog().image:
        rows += [_line([f"**{model.provider}**", *[""] * (len(HEAD) - 1)])] if model.provider != provider else []
        rows.append(_line(list(_cells(model))))
        provider = model.provider
    return "".join(rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cells(model: ImageModel) -> Iterator[str]:
    yield f"`{model.id}`"
    yield from ("✓" if kind in model.kinds else "–" for kind in KINDS)
    yield "✓" if "inpaint" in model.kinds else "–"
    yield str(model.references or "–")
    yield "✓" if model.seed else "–"
    yield "✓" if model.negative_prompt else "–"
    yield _sizes(model)
    yield model.retires.isoformat() if model.retires else "–"


def _sizes(model: ImageModel) -> str:
    """The default size, then how many others there are or the range of them."""
    first, *others = model.sizes
    if size := model.any_size:
        steps = f" in steps of {size.multiple}" if size.multiple > 1 else ""
        return f"{first}, any of {size.shortest} to {size.longest} a side{steps}"
    return f"{first}, {len(others)} others" if len(others) > 3 else ", ".join(model.sizes)


def main() -> None:
    """Effect: the table in `templates/docs/vendors.md` is replaced by today's."""
    text = PAGE.read_text(encoding="utf-8")
    old = re.compile(rf"{re.escape(_line(HEAD))}(\|.*\n)*")
    PAGE.write_text(old.sub(lambda _: vendors(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
