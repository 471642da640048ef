"""The call of a module's forward that is traced: given or inferred, with its dynamic axes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from edgernn.export.call.added_lengths import LENGTHS, add_example_lengths, add_lengths_argument
from edgernn.export.call.argument_updates import return_argument_updates
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.call.infer_example import infer_example
from edgernn.export.call.missing_arguments import check_required_arguments
from edgernn.export.call.positional_arguments import name_positional_arguments
from edgernn.export.source.load_source import Source
from edgernn.export.streaming.hidden_memory import refuse_hidden_memory
from edgernn.export.streaming.reset_memory import reset_memory, reset_memory_with_guess

__all__ = ["make_example"]


def make_example(
    source: Source, inputs: Any, lengths: bool, states: Collection[str]
) -> ExampleCall:
    """Return the call that is traced, and prepare the source's modules for it, in place.

    The modules get names for positional arguments, an argument `lengths` if it was asked for,
    results for the arguments that forward writes into, and the memory of a new module.

    Args:
        source: The model.
        inputs: forward's arguments as the user gave them; None to infer them.
        lengths: Whether to add an argument `lengths` where forward has none.
        states: The paths of the arguments that the user named as states.

    Raises:
        InputError: forward does not run on the inputs, or none were found that it runs on.
        UnsupportedModelError: The module has memory that no graph would have.
    """
    module = source.module
    for one in {id(one): one for one in (module, source.given)}.values():
        name_positional_arguments(one, inputs)
    if lengths and LENGTHS not in inspect.signature(module.forward).parameters:
        add_lengths_argument(module)
    if inputs is None or (isinstance(inputs, Sequence) and not inputs):
        notes = reset_memory_with_guess(module)
        example = infer_example(module)
        if updates := return_argument_updates(module, example):
            example = replace(infer_example(module), state_updates=updates)
    else:
        given = example_from(module, inputs)
        given = add_example_lengths(module, given) if lengths else given
        check_required_arguments(module, given)
        notes = reset_memory(module, given)
        updates = return_argument_updates(module, given)
        example = find_dynamic_axes(ModuleRunner(module), given, states)
        example = replace(example, state_updates=updates)
    refuse_hidden_memory(module, example)
    if source.given is not module:
        reset_memory(source.given, example)
        return_argument_updates(source.given, example)
    return replace(example, notes=(*example.notes, *notes))
