"""README's table of what each vendor can do, from the catalogue: `python -m tests.docs.model_table` writes it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tools.models.catalog import AnySize, ImageModel, catalog
from tools.rows import Kind

README = Path(__file__).parents[2] / "README.md"
KINDS: tuple[Kind, ...] = get_args(Kind)
HEAD = ("model", *KINDS, "mask", "references", "seed", "negative prompt", "sizes", "until")


def vendors() -> str:
    """The whole table, from its head to the newline after its last row."""
    rows = [_line(HEAD), _line(["---"] * len(HEAD))]
    provider = ""
    for model in catalog().image:
        rows += [_line([f"**{model.provider}**", *[""] * (len(HEAD) - 1)])] if model.provider != provider else []
        rows.append(_line(list(_cells(model))))
        provider = model.provider
    return "".join(rows)


def _line(cells: list[str] | tuple[str, ...]) -> str:
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
    """The default one and how many others; or which others besides."""
    first, *others = model.sizes
    if model.any_size:
        return f"{first}, {_any(model.any_size)}"
    return f"{first}, {len(others)} others" if len(others) > 3 else ", ".join(model.sizes)


def _any(size: AnySize) -> str:
    steps = f" in steps of {size.multiple}" if size.multiple > 1 else ""
    return f"any of {size.shortest} to {size.longest} a side{steps}"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    old = re.compile(rf"{re.escape(_line(HEAD))}(\|.*\n)*")
    README.write_text(old.sub(lambda _: vendors(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
