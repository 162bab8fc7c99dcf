"""A voting deck: guests say yes, maybe or no to each image, and see the tally as it changes."""

from collections.abc import Sequence
from typing import Literal

from generators import board
from generators.board import BoardOptions
from generators.generator import Output
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
        return await board.generate(env, artifact, projects, options, "vote")


generator = VotingDeck()
