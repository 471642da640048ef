"""Nodes and constants of a graph, copied into another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.errors import UnsupportedModelError

__all__ = ["NodeCopier"]


class NodeCopier:
    """Copies nodes and constants of one graph into the new graph on a tape.

    Args:
        tape: Where the copies go.
        copies: The copies of values that exist already.
    """

    def __init__(self, tape: Tape, copies: Mapping[ir.Value, ir.Value] | None = None) -> None:
        self.tape = tape
        self._constants = dict(copies or {})
        self._integers: dict[tuple[int, ...], ir.Value] = {}

    def node(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], shaped: bool = True
    ) -> Sequence[ir.Value]:
        """Add a copy of `node` with other inputs and return its outputs.

        Args:
            node: The node.
            inputs: The inputs of the copy.
            shaped: Whether its outputs have the shapes of the node's.
        """
        return self.tape.op_multi_out(
            node.op_type,
            inputs,
            node.attributes,
            domain=node.domain,
            outputs=[
                ir.Value(name=old.name, type=old.type, shape=old.shape if shaped else None)
                for old in node.outputs
            ],
        )

    def constant(self, value: ir.Value) -> ir.Value:
        """Return the copy of a value computed from weights and values with copies alone."""
        if value not in self._constants:
            producer = value.producer()
            if producer is None:
                tensor = value.const_value
                if tensor is None:
                    raise UnsupportedModelError(f"Initializer `{value.name}` has no value.")
                self._constants[value] = self.tape.initializer(tensor, name=value.name)
            else:
                inputs = [operand and self.constant(operand) for operand in producer.inputs]
                copies = self.node(producer, inputs)
                self._constants.update(zip(producer.outputs, copies, strict=True))
        return self._constants[value]

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """Return an int64 vector."""
        key = tuple(numbers)
        if key not in self._integers:
            name = "_".join(["sizes", *map(str, key)])
            tensor = ir.tensor(np.array(key, np.int64))
            self._integers[key] = self.tape.initializer(tensor, name=name)
        return self._integers[key]
