"""A sequence graph as one that runs chunk by chunk: every memory between steps becomes a state.

sequence graph    x (batch, sequence, 4) → Pad 2 in front → Conv of 3 → GRU → y
chunk form        x (batch, sequence, 4), conv_context_in (batch, 4, 2) → Concat → Conv of 3 → GRU
                  → y; the last 2 frames → conv_context_out

The graph is written anew, node by node, once for any number of hops and once for one. For each
value it is known where its time is (`time_axis`); a rule for each operator says what it does to
time (`rules`). What has no rule, or cannot be written, is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.all_rules import mixes_time
from edgernn.export.chunk_form.chunk_writer import ChunkWriter
from edgernn.export.chunk_graph.concrete_sizes import ConcreteSizes
from edgernn.export.chunk_graph.size_builder import NeedsHop
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort
from edgernn.export.step.at_one_step import gemm_form
from edgernn.export.step.unroll_layers import unroll_layers

__all__ = ["ChunkForm", "chunk_form"]

_LONGEST_HOP = 1 << 14


@dataclass(frozen=True)
class ChunkForm:
    """The graphs of a model that remembers more than the states of its layers.

    Attributes:
        sequence: The sequence graph, for any number of hops.
        step: The step graph, of one hop: an axis of as many frames where there are several, none
            where there is one.
        contexts: The states that were added, in the order of their ports.
        streaming: The hop, and the delays and tails of the outputs.
    """

    sequence: ir.Model
    step: ir.Model
    contexts: tuple[StatePort, ...]
    streaming: Streaming


def chunk_form(model: ir.Model, multiple: int = 1) -> ChunkForm | None:
    """Return the chunk form of a sequence graph; None where only its layers have a memory.

    Args:
        model: A sequence graph whose ports are named, in operators that ONNX Runtime has; it is
            not changed.
        multiple: What numbers of steps it takes: multiples of it.

    Raises:
        UnsupportedModelError: An operator mixes steps in a way that has no chunk form; the text
            names it and says why.
    """
    if multiple == 1 and not any(mixes_time(node) for node in model.graph):
        return None
    model = model.clone()
    passes.NameFixPass()(model)
    hop = multiple
    while True:
        try:
            sizes = ConcreteSizes(model, hop)
            chunk = ChunkWriter(model, sizes, hop, None)
            if hop == 1 and not _needs_chunks(chunk):
                return None
            step = ChunkWriter(model, sizes, hop, 1)
            break
        except NeedsHop as longer:
            hop = longer.hop
            if hop > _LONGEST_HOP:
                raise UnsupportedModelError(
                    f"one frame takes {hop} steps of the input, more than {_LONGEST_HOP}"
                ) from longer
    if [one.name for one in chunk.builder.states] != [one.name for one in step.builder.states]:
        raise UnsupportedModelError("its chunks and its single steps differ in their states")
    unroll_layers(step.model, chunk.model)
    return ChunkForm(
        sequence=chunk.model,
        step=gemm_form(step.model),
        contexts=tuple(
            StatePort(
                state.name,
                argument=None,
                result=None,
                call=None,
                last_call=None,
                initial=state.initial,
                context=True,
                limit=state.limit,
            )
            for state in chunk.builder.states
        ),
        streaming=chunk.outputs.streaming(),
    )


def _needs_chunks(chunk: ChunkWriter) -> bool:
    """Return whether the graphs of a model with a hop of 1 are others than those of its steps."""
    builder = chunk.builder
    return bool(builder.states) or any(chunk.outputs.delays.values()) or builder.repeats_layers
