"""A review board: guests pin comments to points of the images, and approve or reject each."""

from collections.abc import Sequence
from typing import Literal

from generators.generator import Output
from generators.shared import board_page
from generators.shared.board_page import BoardOptions
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
        return await board_page.generate(env, artifact, projects, options, "review")


generator = ReviewBoard()
