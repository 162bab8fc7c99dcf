"""The contract with a kind of artifact, on one page.

A generator is one object `generator` that is a `Generator`, in a module of this folder, however deep, or in another
package that names it by an entry point of the group `picasso.generators`. It reads and renders; storing, versions and
links are `tools/publishing/artifacts.py`'s.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from tools.env import Env
from tools.publishing.artifacts import File, Output
from tools.rows import ArtifactRow, Project

__all__ = ["File", "Generator", "Options", "Output", "OutputKind"]

OutputKind = Literal["html", "pdf", "json", "video", "3d", "csv"]
Options = TypeVar("Options", bound=msgspec.Struct)


@runtime_checkable
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
