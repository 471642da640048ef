"""The model card: README.md of an artifact."""

from __future__ import annotations

from edgernn.artifact import Artifact

__all__ = ["card"]


def card(artifact: Artifact) -> str:
    """Return the text of the card."""
    return "# card\n"
