"""A voting deck: guests say yes, maybe or no to each image, and see the tally as it changes."""

from collections.abc import Sequence
from typing import Literal

from generators.generator import Output
from generators.shared import board_page
from generators.shared.board_page import BoardOptions
from tools.env import Env
from tools.rows import ArtifactRow, Project


class VotingDeck:
    id = "voting-deck"
    name = "Voting deck"
    output: Literal["html"] = "html"
    options = BoardOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: BoardOptions
    ) -> Output:
        return await board_page.generate(env, artifact, projects, options, "vote")


generator = VotingDeck()
