"""What an ONNX file leaves open: its inputs, their dynamic axes, the branches that it takes.

An If is replaced by the branch that the file takes:

    before   If(sequence > 1): a = Conv(x) else: a = x
    after    a = Conv(x)                                  where all runs took the first branch

The branch is found by running the file. From then on it must be that one: at a size at which the
file takes the other branch, it counts as failing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.constant_inputs import (
    choose_networks,
    drop_idle_inputs,
    make_constant,
    split_constants,
)
from edgernn.export.foreign.example_inputs import candidate_examples, declared_specs, given_example
from edgernn.export.foreign.fitted_shapes import FittedShapes
from edgernn.export.foreign.instrumented_file import BranchError, InstrumentedFile, evaluate
from edgernn.export.foreign.onnx_file import OnnxFile, ResolvedIf
from edgernn.export.foreign.recurrent_nodes import (
    check_bodies,
    check_nodes,
    name_finals,
    recurrent_nodes_inside,
)
from edgernn.export.ir.dataflow import ancestors, depends_on_data
from edgernn.export.ir.node_builder import splice
from edgernn.export.ir.onnx_session import Arrays
from edgernn.option_names import option

__all__ = ["resolve_file"]


def resolve_file(file: OnnxFile, inputs: Any) -> tuple[InstrumentedFile, ExampleCall]:
    """Return the file without constant inputs and resolved Ifs, and the inputs that it takes.

    Where the user gives no `inputs`, they are inferred.

    Raises:
        InputError: No inputs were found that it runs on, or those given do not fit.
        UnsupportedModelError: It holds a form of recurrence or a choice that is refused.
    """
    constants, inputs = split_constants(inputs)
    file, notes = choose_networks(make_constant(file, constants))
    session, example = _example(file, inputs)
    example = replace(example, notes=(*notes, *example.notes))
    file = session.file
    check_nodes(file.model, f"`{file.path}`", file.contract is not None)
    sizes = FittedShapes(session, example)
    fewer = _resolve_ifs(file, sizes.runs, lambda _: True)
    fewer, example = drop_idle_inputs(fewer, session, example)
    return session if fewer is file else InstrumentedFile(fewer), example


def _example(file: OnnxFile, inputs: Any) -> tuple[InstrumentedFile, ExampleCall]:
    """Return the user's inputs, or the first that the file runs on with the most dynamic axes.

    With them comes the file, without the Ifs around its recurrent nodes.
    """
    if file.contract is not None and not inputs:
        inputs = declared_specs(file)
    if inputs is not None and (not isinstance(inputs, Sequence) or inputs):
        return _try_example(file, given_example(file, inputs))
    best: tuple[InstrumentedFile, ExampleCall] | None = None
    failure: InputError | None = None
    for candidate in candidate_examples(file):
        try:
            session, example = _try_example(file, candidate)
        except InputError as error:
            failure = failure or error
            continue
        if best is None or _dynamic_count(example) > _dynamic_count(best[1]):
            best = session, _with_notes_of_guesses(file, example)
        if _dynamic_count(best[1]) == (1, 1):
            break
    if best is None:
        assert failure is not None
        raise InputError(
            f"No inputs were found that `{file.path}` runs on. {failure} "
            f"Describe them: {option('inputs', ['x:float32[batch,sequence,40]'])}."
        )
    return best


def _try_example(file: OnnxFile, example: ExampleCall) -> tuple[InstrumentedFile, ExampleCall]:
    """Resolve the file's Ifs by one example, and find its dynamic axes."""
    if file.contract is not None and SEQUENCE in example.sizes:
        example = example.resized({SEQUENCE: example.sizes[SEQUENCE] * file.contract.hop})
    try:
        file = _resolve_ifs(file, [example.arrays], _must_be_resolved)
    except Exception as error:  # onnxruntime's errors have no common base class
        given = ", ".join(str(leaf) for leaf in example.tensors)
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"`{file.path}` fails on {given}: {reason}") from error
    check_bodies(file.model, f"`{file.path}`")
    session = InstrumentedFile(file)
    if file.contract is not None and file.contract.in_hops:
        return session, example  # it says which axes are dynamic, and takes whole hops only
    return session, _same_branches(session, find_dynamic_axes(session, example))


def _with_notes_of_guesses(file: OnnxFile, example: ExampleCall) -> ExampleCall:
    """Return the example with a note for each constant size that the file does not declare."""
    notes = list(example.notes)
    ports = {value.name: value.shape or () for value in file.model.graph.inputs}
    for leaf in example.tensors:
        for axis, (declared, size) in enumerate(zip(ports[leaf.path], leaf.shape, strict=True)):
            known = any(f"Axis {axis} of `{leaf.path}`" in note for note in notes)
            if isinstance(declared, int) or isinstance(size, str) or size == 1 or known:
                continue
            notes.append(
                f"Axis {axis} of `{leaf.path}` is the constant {size}, a guess: the file runs at "
                "it, but not at all sizes, and does not tell which one it was trained with. If "
                f"that is another, give it: {option('inputs', [str(leaf)])}."
            )
    return replace(example, notes=tuple(notes))


def _same_branches(session: InstrumentedFile, example: ExampleCall) -> ExampleCall:
    """Return the example with the axes constant that take another branch of an If at size 1."""
    for symbol in example.sizes:
        try:
            session(example.resized({symbol: 1}))
        except BranchError as error:
            leaf = next(leaf for leaf in example.tensors if symbol in leaf.shape)
            axis = leaf.shape.index(symbol)
            size = leaf.tensor.shape[axis]
            note = (
                f"Axis {axis} of `{leaf.path}` ({symbol}) is the constant {size}: at 1 the file "
                f"is another ({error})."
            )
            fixed = replace(example, constants={symbol: size}).with_constant_axes()
            example = replace(fixed, constants=example.constants, notes=(*example.notes, note))
        except Exception:
            continue
    return example


def _dynamic_count(example: ExampleCall) -> tuple[int, int]:
    symbols = {symbol for shape in example.shapes.values() for symbol in shape}
    return int(SEQUENCE in symbols), int(BATCH in symbols)


def _must_be_resolved(node: ir.Node) -> bool:
    """Return whether an If holds recurrent nodes, or its condition depends on no input."""
    condition = node.inputs[0]
    assert condition is not None
    fixed = not any(value.is_graph_input() for value in ancestors(condition))
    return fixed or any(recurrent_nodes_inside(node))


def _resolve_ifs(
    file: OnnxFile, runs: Sequence[Arrays], chosen: Callable[[ir.Node], bool]
) -> OnnxFile:
    """Return the file without the Ifs that take the same branch in all runs.

    An If whose condition depends on the numbers of an input, not only on their shape, is kept, and
    so is one that is not `chosen`, which is asked about those in a branch that is taken, too.
    """
    model = file.model.clone()
    resolved: list[tuple[ir.Value, bool, str]] = []
    kept: set[ir.Node] = set()
    while found := [
        node for node in _ifs_of_sizes(model.graph) if chosen(node) and node not in kept
    ]:
        conditions = [node.inputs[0] for node in found if node.inputs[0] is not None]
        values = [evaluate(model, conditions, feeds, f"`{file.path}`") for feeds in runs]
        for place, node in enumerate(found):
            taken = {bool(one[place].all()) for one in values}
            if len(taken) > 1:
                kept.add(node)
                continue
            (then,) = taken
            resolved.append((conditions[place], then, node_label(node)))
            _take(model.graph, node, "then_branch" if then else "else_branch")
        passes.NameFixPass()(model)
    if not resolved:
        return file
    name_finals(model.graph)
    resolved_ifs = tuple(ResolvedIf(value.name or "", then, name) for value, then, name in resolved)
    return replace(file, model=model, resolved_ifs=(*file.resolved_ifs, *resolved_ifs))


def _ifs_of_sizes(graph: ir.Graph) -> list[ir.Node]:
    """Return the Ifs whose condition depends on no numbers of an input."""
    return [
        node
        for node in graph
        if node.op_type == "If"
        and node.inputs[0] is not None
        and not depends_on_data(node.inputs[0])
    ]


def _take(graph: ir.Graph, node: ir.Node, name: str) -> None:
    """Replace an If by one of its branches."""
    branch = node.attributes[name].as_graph()
    results = splice(graph, node, branch, [], suffix=f"_{node_label(node)}")
    for old, result in zip(node.outputs, results, strict=True):
        copy = ir.node("Identity", [result])
        copy.outputs[0].name, copy.outputs[0].type = old.name, result.type
        old.name = None
        ir.convenience.replace_all_uses_with(old, copy.outputs[0], replace_graph_outputs=True)
        graph.insert_before(node, copy)
    graph.remove(node, safe=True)
