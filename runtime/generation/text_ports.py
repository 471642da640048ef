"""The ports of models on text: the ids of symbols that they take, the scores that they return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.contract import Contract
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes, required_axes
from edgernn.vocabulary import Vocabulary

__all__ = ["TextPorts", "encode_text", "ids_input", "scores_output"]


@dataclass(frozen=True)
class TextPorts:
    """The ports of a model that reads symbols and scores the next one.

    Attributes:
        vocabulary: The symbols.
        ids: The axes of the input with the ids.
        scores: The axes of the output with one score per symbol.
    """

    vocabulary: Vocabulary
    ids: PortAxes
    scores: PortAxes

    @classmethod
    def of(cls, contract: Contract) -> TextPorts:
        """Find the ports.

        Raises:
            InputError: The model has no vocabulary or no such ports.
        """
        vocabulary, ids, scores = contract.vocabulary, ids_input(contract), scores_output(contract)
        if vocabulary is None:
            raise InputError(
                f"`{contract.source}` has no vocabulary, so it cannot continue a text. Export it "
                "again with one: export_model(…, vocabulary=…)."
            )
        if ids is None:
            ports = ", ".join(f"`{axis.port}`" for axis in input_axes(contract).values())
            raise InputError(
                f"Text needs a model with one input of ids; this one takes {ports}. Give numbers "
                "to model(…), or export a model that takes ids."
            )
        if scores is None:
            raise InputError(
                f"The model has no output with one score for each of its {len(vocabulary)} "
                "symbols, so it cannot continue a text. Export one that returns its scores."
            )
        return cls(vocabulary, ids, output_axes(contract)[scores])


def ids_input(contract: Contract) -> PortAxes | None:
    """Return the axes of the only input of a model, where it has one id per step; else None."""
    axes = list(required_axes(input_axes(contract)).values())
    if len(axes) == 1 and np.dtype(axes[0].port.dtype).kind == "i":
        return axes[0] if all(size == 1 for size in axes[0].features) else None
    return None


def scores_output(contract: Contract) -> str | None:
    """Return the only output with one score for each symbol of the vocabulary, if there is one."""
    if contract.vocabulary is None:
        return None
    names = [
        name
        for name, axis in output_axes(contract).items()
        if axis.features == (len(contract.vocabulary),) and np.dtype(axis.port.dtype).kind == "f"
    ]
    return names[0] if len(names) == 1 else None


def encode_text(vocabulary: Vocabulary, text: str) -> list[int]:
    """Return the ids of `text`; a line end that closes it is dropped where it has no symbol.

    Raises:
        InputError: The text has no symbol or holds what the vocabulary does not.
    """
    if text.endswith("\n") and "\n" not in vocabulary.symbols:
        text = text.removesuffix("\n").removesuffix("\r")
    ids = vocabulary.encode(text)
    if not ids:
        kind = "blank" if text else "empty"
        raise InputError(f"The text is {kind}; at least one symbol is needed.")
    return ids
