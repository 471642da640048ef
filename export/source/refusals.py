"""Refusals that several kinds of model file share."""

from __future__ import annotations

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.option_names import option

__all__ = ["damaged_file", "quantized_weights", "untrusted_file"]

FROM_CODE = "export the model from its code"


def damaged_file(subject: str, kind: str, reason: str) -> SourceError:
    """Return the refusal of a file that does not hold what its kind should."""
    return SourceError(
        f"{subject} is a {kind} that cannot be read: {reason}. Save or download it again."
    )


def untrusted_file(found: str, danger: str, alternative: str = FROM_CODE) -> SourceError:
    """Return the refusal of a file that may run code.

    `found` names the file and what is in it, `danger` what opening it would or could do.
    """
    return SourceError(
        f"{found}. {danger}, so it is not done unasked. If you trust its origin, repeat with "
        f"{option('trust', True)}; or {alternative}."
    )


def quantized_weights(subject: str, found: str) -> UnsupportedModelError:
    """Return the refusal of a model whose weights are quantized."""
    return UnsupportedModelError(
        f"{subject} has quantized weights, {found}, which only torch can unpack. Export the float "
        f"model; {option('precision', 'int8')} quantizes it."
    )
