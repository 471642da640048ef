"""An input for the lengths of sequences, for an ONNX file that has none."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.added_lengths import LENGTHS
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.recurrent_operators import Input, input_of, recurrent_nodes

__all__ = ["add_lengths"]


def add_lengths(file: OnnxFile) -> OnnxFile:
    """Return the file with an input `lengths`, (batch,) int64, as `sequence_lens` of its nodes.

    Nodes that have lengths keep theirs; a file whose nodes all have some is returned as it is.

    Raises:
        InputError: It has an input of that name for something else.
        UnsupportedModelError: It has no recurrent node.
    """
    model = file.model.clone()
    nodes = recurrent_nodes(model.graph)
    if not nodes:
        raise UnsupportedModelError(
            f"`{file.path}` has no LSTM, GRU or RNN node whose sequences could end at lengths. "
            "Export it without --lengths."
        )
    endless = [node for node in nodes if input_of(node, Input.SEQUENCE_LENS) is None]
    if not endless or (file.contract is not None and file.contract.lengths):
        return file
    if any(value.name == LENGTHS for value in model.graph.inputs):
        raise InputError(
            f"`{file.path}` has an input `{LENGTHS}` already, which is not that of its recurrent "
            "nodes. Export it without --lengths."
        )
    lengths = ir.Value(name=LENGTHS, shape=ir.Shape([BATCH]), type=ir.TensorType(ir.DataType.INT64))
    narrow = ir.node("Cast", [lengths], {"to": ir.DataType.INT32})
    model.graph.inputs.append(lengths)
    model.graph.insert_before(model.graph[0], narrow)
    for node in endless:
        node.replace_input_with(Input.SEQUENCE_LENS, narrow.outputs[0])
    return replace(
        file,
        model=model,
        runnable=ir.serde.serialize_model(model).SerializeToString(),
        reference="the original file with lengths for its nodes, in ONNX Runtime",
    )
