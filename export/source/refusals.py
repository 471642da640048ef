"""Refusals that several kinds of model file share."""

from __future__ import annotations

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.find_code import ModelCode
from edgernn.option_names import option, repeat_with

__all__ = ["damaged_file", "quantized_weights", "untrusted_file"]

FROM_CODE = "export the model from its code"


def damaged_file(subject: str, kind: str, reason: str) -> SourceError:
    """Return the refusal of a file that does not hold what its kind should."""
    return SourceError(
        f"{subject} is a {kind} that cannot be read: {reason}. Save or download it again."
    )


def untrusted_file(
    found: str, danger: str, alternative: str = FROM_CODE, code: ModelCode | None = None
) -> SourceError:
    """Return the refusal of a file that may run code.

    Args:
        found: The file and what is in it.
        danger: What opening it would or could do.
        alternative: What to do instead.
        code: The code that it needs besides, where Python would not find that.
    """
    module = {} if code is None or code.module is None else {"module": code.module}
    remedy = repeat_with(trust=True, **module)
    where, warning = ("", "") if code is None else (code.where, code.warning)
    return SourceError(
        f"{found}. {danger}, so it is not done unasked. If you trust its origin, {remedy}{where}; "
        f"or {alternative}. {warning}".rstrip()
    )


def quantized_weights(subject: str, found: str) -> UnsupportedModelError:
    """Return the refusal of a model whose weights are quantized."""
    return UnsupportedModelError(
        f"{subject} has quantized weights, {found}, which only torch can unpack. Export the float "
        f"model; {option('precision', 'int8')} quantizes it."
    )
