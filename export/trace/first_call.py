"""Which line of the model first calls an operator."""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.code_lines.operator_lines import Wanted, Watch
from edgernn.export.code_lines.place import Place

__all__ = ["first_call"]


def first_call(module: nn.Module, example: ExampleCall, wanted: Wanted) -> Place | None:
    """Return the line of the model that first calls an operator which is wanted, or None.

    Args:
        module: The model.
        example: A call of it.
        wanted: See `Watch`.
    """
    watch = Watch(wanted)
    with torch.no_grad(), preserve_state(module), warnings.catch_warnings(), watch:
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):
            module(**example.kwargs)
    return watch.place
