"""What an ONNX file contains: ports, contract, cost, recurrent nodes, runtimes that refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgernn.contract import Contract, Port
from edgernn.export.analysis.cost import RECURRENT_KINDS, cost_of, count_elements, hidden_size
from edgernn.export.analysis.find_layers import layers_of
from edgernn.export.analysis.graph_patterns import all_nodes, node_label
from edgernn.export.analysis.runtime_refusals import refusals_of
from edgernn.export.ir.decode_file import decode, readable
from edgernn.export.ir.graph_names import port_of
from edgernn.export.ir.recurrent_operators import Input, direction_of
from edgernn.layer import Layer
from edgernn.report import Cost

__all__ = ["FileAnalysis", "analyse_file"]


@dataclass(frozen=True)
class FileAnalysis:
    """What one ONNX file contains.

    Attributes:
        inputs: Its inputs, in order; an axis without size or name is `?`.
        outputs: Its outputs, likewise.
        contract: The contract in its metadata, or None where edgernn did not write it.
        cost: Its size, and the cost of one step of one sequence.
        layers: Its layers with weights, in the order of its nodes; none for a step graph of
            edgernn's, which has products instead.
        recurrent: One line per recurrent node.
        refusals: Name of a runtime that cannot run it as it is → why.
        opset: The version of ONNX's own operators.
        ir_version: The version of the file format.
        producer: What wrote the file, with its version.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    contract: Contract | None
    cost: Cost
    layers: tuple[Layer, ...]
    recurrent: tuple[str, ...]
    refusals: Mapping[str, str]
    opset: int
    ir_version: int
    producer: str

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as JSON can hold it."""
        return {
            "inputs": [_port_to_json(port) for port in self.inputs],
            "outputs": [_port_to_json(port) for port in self.outputs],
            "contract": self.contract.to_json() if self.contract else None,
            "cost": asdict(self.cost),
            "layers": [layer.to_json() for layer in self.layers],
            "recurrent": list(self.recurrent),
            "refusals": dict(self.refusals),
            "opset": self.opset,
            "ir_version": self.ir_version,
            "producer": self.producer,
        }


def analyse_file(path: Path) -> FileAnalysis:
    """Read the ONNX file `path`, whoever made it.

    Raises:
        SourceError: There is no such file, it is not an ONNX graph, or its weights are missing.
        ContractError: It carries an edgernn contract that is broken or of another version.
    """
    model = decode(path)
    with readable(path):
        inputs = tuple(port_of(value) for value in model.graph.inputs if not value.is_initializer())
        outputs = tuple(map(port_of, model.graph.outputs))
        metadata = model.metadata_props
        contract = None
        if "edgernn.contract" in metadata:
            contract = Contract.from_metadata(metadata, inputs, outputs, f"`{path}`")
        return FileAnalysis(
            inputs=inputs,
            outputs=outputs,
            contract=contract,
            cost=cost_of(model),
            layers=() if contract is not None and contract.step else layers_of(model),
            recurrent=tuple(
                f"{node.op_type} `{node_label(node)}`: {_DESCRIPTIONS[node.op_type](node)}"
                for node in all_nodes(model)
                if node.op_type in _DESCRIPTIONS
            ),
            refusals=refusals_of(model),
            opset=model.graph.opset_imports.get("", 0),
            ir_version=model.ir_version,
            producer=f"{model.producer_name or ''} {model.producer_version or ''}".strip(),
        )


def _port_to_json(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": port.dtype, "shape": list(port.shape)}


def _layer(node: ir.Node) -> str:
    axis = 1 if node.op_type == "DynamicQuantizeLSTM" else 2
    width = count_elements(node.inputs[Input.W], slice(axis, axis + 1))
    return f"input {width}, hidden {hidden_size(node)}, {direction_of(node)}"


def _scan(node: ir.Node) -> str:
    inputs = node.attributes.get_int("num_scan_inputs", 1)
    backward = any(node.attributes.get_ints("scan_input_directions", ()))
    states = _counted(len(node.inputs) - inputs, "state")
    return f"{_counted(inputs, 'input')}, {states}, {'reverse' if backward else 'forward'}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_DESCRIPTIONS: Mapping[str, Callable[[ir.Node], str]] = {
    **dict.fromkeys(RECURRENT_KINDS, _layer),
    "Scan": _scan,
    "Loop": lambda node: _counted(len(node.inputs) - 2, "state"),
}
