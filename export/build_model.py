"""From a model of any source to its graphs, and to what they are proven against."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.build_torch import build_torch
from edgernn.export.built import Built
from edgernn.export.call.added_lengths import LENGTHS, add_example_lengths, add_lengths_argument
from edgernn.export.call.argument_updates import return_argument_updates
from edgernn.export.call.dynamic_axes import find_dynamic_axes, infer_example
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.call.missing_arguments import check_required_arguments
from edgernn.export.call.override_forward import name_positional_arguments
from edgernn.export.foreign.build_graphs import build_foreign
from edgernn.export.foreign.onnx_file import OnnxFile, add_lengths
from edgernn.export.library_errors import stage
from edgernn.export.make_contract import name_outer_axes
from edgernn.export.options import SourceOptions
from edgernn.export.proof.eager_reference import EagerReference, GivenReference
from edgernn.export.proof.module_calls import ModuleCalls
from edgernn.export.proof.reference import Reference
from edgernn.export.source.load_source import Source, load_source
from edgernn.export.streaming.find_memory import Memory, find_memory
from edgernn.export.streaming.layer_memory import is_layer_memory
from edgernn.export.streaming.memory_arguments import MemoryArguments
from edgernn.export.streaming.refused_memory import memory_refusal
from edgernn.export.streaming.reset_memory import reset_memory, reset_memory_with_guess

__all__ = ["build_model", "make_example", "open_model"]

_LOG = logging.getLogger("edgernn.export")


def open_model(model: nn.Module | str | Path, options: SourceOptions) -> Source | OnnxFile:
    """Return the model in a module or a file, opened as the options say; as `load_source`."""
    _LOG.info("reading the model")
    return load_source(
        model, module=options.module, assume_plain=options.assume_plain, trust=options.trust
    )


def build_model(
    source: Source | OnnxFile, options: SourceOptions, lengths: bool
) -> tuple[Built, Reference]:
    """Return the graphs of a model and what they are proven against.

    With `lengths`, an input of that name is added to a model that has none.

    Raises:
        InputError: It does not run on the inputs, or a name is not in it.
        UnsupportedModelError: It has no recurrent state, or cannot be written as graphs.
    """
    if isinstance(source, OnnxFile):
        built, reference = _build_file(source, options, lengths)
    else:
        built, reference = _build_module(source, options, lengths)
    name_outer_axes(built, reference)
    return built, reference


def _build_file(file: OnnxFile, options: SourceOptions, lengths: bool) -> tuple[Built, Reference]:
    with stage("building the graphs", file.name):
        file = add_lengths(file) if lengths else file
        return build_foreign(file, options.inputs, options.states or {})


def _build_module(source: Source, options: SourceOptions, lengths: bool) -> tuple[Built, Reference]:
    module, states = source.module, options.states or {}
    _LOG.info("finding inputs and axes")
    with stage("running forward", source.name):
        example = make_example(source, options.inputs, lengths, states)
        given = module if lengths else source.given
        memory, example = find_memory(module, example)
        calls = None if memory is None else ModuleCalls(given, example, bool(memory.tensors))
    _LOG.debug("forward takes %s", ", ".join(map(str, example.tensors)))
    with stage("building the graphs", source.name):
        if memory is None or not memory.tensors:
            built = _build_or_fix_steps(module, example, states)
        else:
            built = _build_with_memory(module, memory, example, states)
    if calls is not None:
        built = replace(built, module_calls=calls)
    return built, _reference(module if built.example.memory else given, built, source.reference)


def _build_with_memory(
    module: nn.Module, memory: Memory, example: ExampleCall, states: Mapping[str, str | int]
) -> Built:
    """Build with what `module` keeps from call to call as arguments of its forward, in place.

    Such a module means its calls: a convolution that pads the sequence does so at every call.
    Memory that seems to be nothing but the states of layers is left as it is, if that can be built.

    Raises:
        UnsupportedModelError: The module keeps what cannot be a state, or cannot be built.
    """
    example = replace(example, anew=True)
    if is_layer_memory(module, memory, example):
        with contextlib.suppress(UnsupportedModelError):
            return _build_or_fix_steps(module, example, states)
    arguments = MemoryArguments(module, memory)
    arguments.override(module)
    try:
        return _build_or_fix_steps(module, arguments.add_to(example), states)
    except UnsupportedModelError as error:
        if not memory.numbers:
            raise
        reason = f"with a tensor for its number, forward cannot be traced ({error})"
        raise memory_refusal(module, memory.numbers, reason) from error


def _build_or_fix_steps(
    module: nn.Module, example: ExampleCall, states: Mapping[str, str | int]
) -> Built:
    """Build with dynamic steps; if that fails and a spec gives their number, with that constant."""
    try:
        return build_torch(module, example, states)
    except UnsupportedModelError:
        if example.multiple > 1:
            return build_torch(module, example.with_constant_steps(), states)
        if not example.constants:
            raise
        return build_torch(module, example.with_constant_axes(), states)


def make_example(
    source: Source, inputs: Any, lengths: bool, states: Collection[str]
) -> ExampleCall:
    """Return the call that is traced, and prepare the source's modules for it, in place.

    The modules get names for positional arguments, an argument `lengths` if it was asked for,
    results for the arguments that forward writes into, and the memory of a new module. Where
    `inputs` is None, the arguments are inferred.

    Raises:
        InputError: forward does not run on the inputs, or none were found that it runs on.
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
    if source.given is not module:
        reset_memory(source.given, example)
        return_argument_updates(source.given, example)
    return replace(example, notes=(*example.notes, *notes))


def _reference(given: nn.Module, built: Built, name: str) -> Reference:
    """Return what graphs are proven against: the module as it was given.

    Where another module was traced, that one is beside it, for the states that show in it alone.
    """
    assert built.module is not None
    axes = built.stacked_axes
    traced = EagerReference(built.module, built.example, built.states, axes, name)
    if built.module is given:
        return traced
    arguments = [state for state in built.states if state.argument is not None]
    states = tuple(replace(state, call=None, last_call=None) for state in arguments)
    return GivenReference(EagerReference(given, built.example, states, axes, name), traced)
