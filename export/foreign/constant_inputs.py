"""Inputs of an ONNX file that become constants: those the user gives, and those it implies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.call.axis_probe import same_results
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.input_spec import parse_spec
from edgernn.export.foreign.instrumented_file import InstrumentedFile
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import recurrent_nodes_inside, title
from edgernn.export.ir.dataflow import input_dependencies
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.operator_kinds import moved_inputs
from edgernn.option_names import option

__all__ = ["choose_networks", "drop_idle_inputs", "make_constant", "split_constants"]


def split_constants(inputs: Any) -> tuple[dict[str, float], Any]:
    """Take the constants out of what the user gives: `rate:int64[]=16000`, or a number by name.

    Returns:
        Name of an input → its value; and the inputs without those, None where none are left.
    """
    constants: dict[str, float] = {}
    if isinstance(inputs, Mapping):
        constants = {k: v for k, v in inputs.items() if isinstance(v, (bool, int, float))}
        rest: Any = {name: one for name, one in inputs.items() if name not in constants}
    elif isinstance(inputs, Sequence) and inputs and all(isinstance(one, str) for one in inputs):
        specs = {one: parse_spec(one) for one in ([inputs] if isinstance(inputs, str) else inputs)}
        constants = {spec.path: spec.value for spec in specs.values() if spec.value is not None}
        rest = [one for one, spec in specs.items() if spec.value is None]
    else:
        return {}, inputs
    return constants, rest or None


def make_constant(file: OnnxFile, constants: Mapping[str, float]) -> OnnxFile:
    """Return the file with some of its inputs constants.

    Raises:
        InputError: A name is not one of its inputs, or an input has an axis of a free size.
    """
    if not constants:
        return file
    model = file.model.clone()
    ports = {value.name or "": value for value in model.graph.inputs}
    arrays: dict[str, NDArray[Any]] = {}
    for name, number in constants.items():
        if name not in ports:
            listed = ", ".join(f"`{one}`" for one in ports)
            raise InputError(f"`{name}` is not an input of `{file.path}`, which has {listed}.")
        value = ports[name]
        sizes = [size for size in value.shape or () if isinstance(size, int)]
        if value.dtype is None or value.shape is None or len(sizes) < len(value.shape):
            raise InputError(
                f"`{name}` of `{file.path}` is {_dtype(value)}{value.shape}; only inputs of "
                "a known size can be made constants. Give it as an input."
            )
        arrays[name] = np.full(sizes, number, value.dtype.numpy())
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(arrays[name], name=name)
        model.graph.register_initializer(value)
    return replace(file, model=model, constants={**file.constants, **arrays})


def choose_networks(file: OnnxFile) -> tuple[OnnxFile, tuple[str, ...]]:
    """Return the file with the inputs that choose between networks constant, and notes.

    Such an input is a single number, as a sampling rate is, that an If compares with a constant:
    it becomes that constant.

    Raises:
        UnsupportedModelError: It decides in another way about recurrent nodes.
    """
    chosen: dict[str, float] = {}
    notes: list[str] = []
    for node, ports in _choices(file.model.graph):
        spec = f"{ports[0].name}:{_dtype(ports[0])}[]"
        value = _compared(node.inputs[0]) if len(ports) == 1 else None
        inner = next(recurrent_nodes_inside(node), None)
        if value is None and inner is None:
            continue
        if value is None:
            assert inner is not None
            number = "true" if ports[0].dtype == ir.DataType.BOOL else "1"
            raise UnsupportedModelError(
                f"If `{node_label(node)}` in `{file.path}` chooses by the input `{ports[0].name}` "
                f"what runs, {title(inner)} among it; a graph has one network. Give the input as a "
                f"constant: {option('inputs', [f'{spec}={number}'])}."
            )
        if ports[0].name not in chosen:
            chosen[ports[0].name or ""] = value
            notes.append(
                f"`{ports[0].name}` is the constant {value}, the value that If "
                f"`{node_label(node)}` asks for: it chooses between networks. For another one give "
                f"its value: {option('inputs', [f'{spec}=VALUE'])}."
            )
    return make_constant(file, chosen), tuple(notes)


def drop_idle_inputs(
    file: OnnxFile, session: InstrumentedFile, example: ExampleCall
) -> tuple[OnnxFile, ExampleCall]:
    """Return file and example without the single numbers that change no result."""
    before = session(example)
    idle: dict[str, float] = {}
    for leaf in example.tensors:
        if leaf.tensor.dim() or leaf.tensor.dtype == torch.bool:
            continue
        try:
            others = [
                session(example.with_tensors({leaf.path: leaf.tensor * factor + 1}))
                for factor in (1, 7)
            ]
        except Exception:  # onnxruntime's errors have no common base class
            continue
        if all(same_results(before, other) for other in others):
            idle[leaf.path] = leaf.tensor.item()
    if not idle or len(idle) == len(example.tensors):
        return file, example
    notes = (f"`{name}` is an input that changes nothing: it is left out." for name in idle)
    kept = {name: value for name, value in example.kwargs.items() if name not in idle}
    shapes = {name: shape for name, shape in example.shapes.items() if name not in idle}
    fewer = replace(example, kwargs=kept, shapes=shapes, notes=(*example.notes, *notes))
    return make_constant(file, idle), fewer


def _choices(graph: ir.Graph) -> Iterator[tuple[ir.Node, list[ir.Value]]]:
    """Yield each If whose condition depends on single numbers alone, with these inputs."""
    for node in graph:
        condition = node.inputs[0] if node.op_type == "If" else None
        if condition is None:
            continue
        ports = input_dependencies(condition)
        single = [port for port in ports if port.shape is not None and set(port.shape) <= {1}]
        if ports and single == ports:
            yield node, ports


def _compared(condition: ir.Value | None) -> float | None:
    """Return the constant that an input must be equal to for `condition`, or None."""
    node = None if condition is None else _unmoved(condition).producer()
    if node is None or node.op_type != "Equal":
        return None
    sides = [_unmoved(side) for side in node.inputs if side is not None]
    constants = [array for side in sides if (array := constant_of(side)) is not None]
    if len(constants) != 1 or constants[0].size != 1 or not any(s.is_graph_input() for s in sides):
        return None
    return constants[0].item()  # type: ignore[no-any-return]


def _unmoved(value: ir.Value) -> ir.Value:
    """Return what `value`, a single number, is before it gets another shape or dtype."""
    while (node := value.producer()) is not None:
        sources = node.inputs[:1] if node.op_type == "Cast" else moved_inputs(node)
        if len(sources) != 1 or sources[0] is None:
            break
        value = sources[0]
    return value


def _dtype(port: ir.Value) -> str:
    return "float32" if port.dtype is None else str(port.dtype.numpy().name)
