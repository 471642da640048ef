"""From a model of any source to its graphs, and to what they are proven against."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.build_torch import build_torch
from edgernn.export.built import Built
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.add_lengths import add_lengths
from edgernn.export.foreign.build_graphs import build_foreign
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.library_errors import stage
from edgernn.export.make_contract import reference_of
from edgernn.export.make_example import make_example
from edgernn.export.options import SourceOptions
from edgernn.export.proof.reference import Reference
from edgernn.export.source.load_source import Source
from edgernn.export.streaming.hidden_memory import check_memory_is_state

__all__ = ["build_model"]


def build_model(
    source: Source | OnnxFile, options: SourceOptions, lengths: bool
) -> tuple[Built, Reference]:
    """Return the graphs of a model and what they are proven against.

    Args:
        source: The model.
        options: Its inputs and its states as the user gave them.
        lengths: Whether to add an input `lengths` to a model that has none.

    Raises:
        InputError: It does not run on the inputs, or a name is not in it.
        UnsupportedModelError: It has no recurrent state, or cannot be written as graphs.
    """
    inputs, states = options.inputs, options.states or {}
    if isinstance(source, OnnxFile):
        with stage("opening its states", source.name):
            return build_foreign(add_lengths(source) if lengths else source, inputs, states)
    module = source.module
    with stage("running forward", source.name):
        example = make_example(source, inputs, lengths, states)
    with stage("writing the graphs", source.name):
        built = _build_or_fix_steps(module, example, states)
    if built.module is module:
        for call in (example, example.resized(dict.fromkeys(example.sizes, 1))):
            check_memory_is_state(module, call, built.calls_of_own_states)
    return built, reference_of(module if lengths else source.given, built, source.reference)


def _build_or_fix_steps(
    module: nn.Module, example: ExampleCall, states: Mapping[str, str | int]
) -> Built:
    """Build with dynamic steps; if that fails and a spec gives their number, with that constant."""
    try:
        return build_torch(module, example, states)
    except UnsupportedModelError:
        if not example.constants:
            raise
        return build_torch(module, example.with_constant_axes(), states)
