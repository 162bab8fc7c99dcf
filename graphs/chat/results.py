"""What the tools of the chat tell the model, as JSON in their messages."""

import msgspec

from tools.rows import Seen


class ProjectCard(msgspec.Struct, frozen=True):
    """A project as the model sees it."""

    id: str
    name: str
    description: str


class ProjectCards(msgspec.Struct, frozen=True):
    """The result of `get_projects_for_artifact`."""

    projects: list[ProjectCard]


class ImageCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image as the model sees it; `met` is how many of the judge's criteria it meets: "3/4". Of one that was only
    “measured” the main subject could not be judged."""

    number: int
    id: str
    url: str
    provider: str
    prompt: str
    tags: list[str]
    verdict: Seen | None = None
    met: str = ""
    note: str = ""
    made: int = 0
    """UTC milliseconds."""


class ImageCards(msgspec.Struct, frozen=True):
    """The result of `get_images_for_project`: the best judged first; `more` were left out."""

    project: str
    images: list[ImageCard]
    more: int


class RefusedChoice(msgspec.Struct, frozen=True):
    """A choice that was not saved, and why."""

    key: str
    error: str
    message: str


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `save_configuration`. An empty value is a placeholder that was cleared."""

    saved: dict[str, str]
    refused: list[RefusedChoice]
    undone: dict[str, str] | None = None
    """The values that an undo restored; None when there was nothing to undo, or none was asked for."""
    remembered: dict[str, str] = {}
    missing: list[str]


class Rendered(msgspec.Struct, frozen=True):
    """The result of `render_artifact`: the public link; not `ready` while a worker still makes this version."""

    link: str
    ready: bool = True


class ToolFailed(msgspec.Struct, frozen=True):
    """The result of a tool that failed: a code and a sentence."""

    error: str
    message: str
