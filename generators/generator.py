"""The contract between the house and a kind of artifact, on one page.

A generator is a module in this folder (or one named by the entry-point group `picasso.generators`) with one
object `generator` that is a `Generator`. It reads and renders; storing, versions and links are the house's.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from tools.env import Env
from tools.publishing.artifacts import File, Output
from tools.rows import ArtifactRow, Project

__all__ = ["File", "Generator", "Options", "Output", "OutputKind"]

OutputKind = Literal["html", "pdf", "json", "video", "3d", "csv"]
Options = TypeVar("Options", bound=msgspec.Struct)


class Generator(Protocol[Options]):
    id: str
    """Lower case with hyphens; the camelCase spelling is an alias."""
    name: str

    @property
    def output(self) -> OutputKind:
        """What kind of file the index is."""
        ...

    options: type[Options]
    """The Struct that the caller's `options` are decoded into: camelCase outside, unknown fields refused."""

    async def generate(self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: Options) -> Output:
        """The files of one version: the same bytes for the same rows, so nothing of the clock is in them.

        A project without images is no failure: the output is valid and says so.
        Fails: Invalid when the options ask for what the projects do not have · Unavailable.
        """
        ...
