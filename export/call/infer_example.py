"""An example call that is found from a module alone."""

from __future__ import annotations

from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.constant_axis_reasons import StepsError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.call.missing_arguments import ask_for_inputs
from edgernn.untrusted_text import first_line

__all__ = ["infer_example"]


def infer_example(module: nn.Module) -> ExampleCall:
    """Find a call that forward takes, and its dynamic axes, from the layers and the signature.

    Raises:
        InputError: No call that was tried runs.
        UnsupportedModelError: No number of steps is right for the rank of its result.
    """
    best: ExampleCall | None = None
    refused: StepsError | None = None
    failure = "its arguments do not follow from its layers"
    for candidate in candidate_examples(module):
        try:
            found = find_dynamic_axes(ModuleRunner(module), candidate, guessed=True)
        except InputError as error:
            failure = first_line(error.__cause__ or error)
            continue
        except StepsError as error:
            refused = refused or error
            continue
        if best is None or _score(found) > _score(best):
            best = found
        if _score(best)[:2] == (1, 1):
            break
    if refused is not None and (best is None or SEQUENCE not in best.sizes):
        raise refused
    if best is None:
        raise InputError(
            f"No example input for `{type(module).__name__}` could be inferred: {failure}. "
            f"{ask_for_inputs(module)}"
        )
    return best


def _score(example: ExampleCall) -> tuple[int, int, int, int]:
    """Rank a call by its dynamic axes, the fewer of other names the better.

    Then by how few axes of a single entry it takes.
    """
    symbols = example.sizes.keys()
    others = len(symbols - {SEQUENCE, BATCH})
    single = sum(size == 1 for leaf in example.tensors for size in leaf.shape)
    return int(SEQUENCE in symbols), int(BATCH in symbols), -others, -single
