"""A review board: guests pin comments to points of the images, and approve or reject each."""

from collections.abc import Sequence
from typing import Literal

from generators import board
from generators.board import BoardOptions
from generators.generator import Output
from tools.env import Env
from tools.rows import ArtifactRow, Project


class ReviewBoard:
    id = "review-board"
    name = "Review board"
    output: Literal["html"] = "html"
    options = BoardOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: BoardOptions
    ) -> Output:
        return await board.generate(env, artifact, projects, options, "review")


generator = ReviewBoard()
