"""A figure: a thing drawn around its own origin and placed on the canvas."""

from adapters.sketch.canvas import Canvas, Tint, lighter
from adapters.sketch.shapes import Outline, placed
from tools.media.colours import Rgb


class Figure:
    """The position, size (canvas units per own unit), orientation and rotation of a thing."""

    def __init__(self, c: Canvas, x: float, y: float, size: float, flip: bool = False, turn: float = 0.0) -> None:
        self.c, self.x, self.y, self.size = c, x, y, size
        self._flip, self._turn = flip, turn

    def at(self, outline: Outline) -> Outline:
        """The outline in canvas units."""
        return placed(outline, self.x, self.y, self.size, self._flip, self._turn)

    def part(self, tint: Tint, *outlines: Outline, opacity: float = 1.0, soft: float = 0.0, wet: float = 0.0) -> None:
        """Fill outlines given in the figure's own units; see `Canvas.fill`."""
        self.c.fill([self.at(outline) for outline in outlines], tint, opacity, soft, wet)


def lit(rgb: Rgb, up: float = 0.05, down: float = -0.1) -> tuple[Rgb, Rgb]:
    """The colour of the lit and of the shaded side."""
    return lighter(rgb, up), lighter(rgb, down)
