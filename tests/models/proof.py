"""Check an artifact against eager torch once more, through the runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import edgernn
from edgernn.artifact import Artifact
from edgernn.contract import SEQUENCE, Contract, Port
from edgernn.join_chunks import join_chunks
from edgernn.runtime.model import Model

Arrays = dict[str, NDArray[Any]]
Tensors = Mapping[str, torch.Tensor]

ODD_SIZES = ((1, 1), (3, 11), (5, 4))
"""(batch, sequence), none of them a size that an example has."""


def check_against_torch(
    artifact: Artifact,
    draw: Callable[[int, int], Tensors],
    call: Callable[..., Any],
    sizes: Sequence[tuple[int, int]] = ODD_SIZES,
    tolerance: float = 2e-5,
) -> None:
    """Hold an artifact against eager torch: whole, in chunks and by steps.

    Args:
        artifact: The artifact.
        draw: From (batch, sequence) to the data inputs by port name.
        call: What a user calls, from the inputs as keywords to the outputs: a tensor, or one by
            port name.
        sizes: (batch, sequence) of the runs.
        tolerance: The largest difference of a single number.
    """
    model = edgernn.load(artifact.path)
    names = [port.name for port in model.contract.data_outputs("sequence")]
    for batch, sequence in sizes:
        inputs = draw(batch, sequence)
        with torch.no_grad():
            result = call(**inputs)
        results = result if isinstance(result, Mapping) else {names[0]: result}
        assert set(results) == set(names)
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        for how, got in _runs(model, arrays, batch, sequence).items():
            for name, tensor in results.items():
                np.testing.assert_allclose(
                    got[name],
                    tensor.numpy(),
                    rtol=0,
                    atol=tolerance,
                    err_msg=f"{name}, {how}, {batch=}",
                )


def signature(artifact: Artifact) -> str:
    """Return the ports in one line: data inputs, `;` states, `->` data outputs, what there is."""
    contract = artifact.contract
    kinds = " + ".join(contract.graphs)
    states = ", ".join(
        f"{state.name}[{', '.join(map(str, contract.graphs['sequence'].input(state.input).shape))}]"
        for state in contract.states
    )
    inputs = ", ".join(map(str, contract.data_inputs("sequence")))
    outputs = ", ".join(map(str, contract.data_outputs("sequence")))
    return f"{inputs}; {states} -> {outputs} ({kinds})"


def _runs(model: Model, arrays: Arrays, batch: int, sequence: int) -> dict[str, Arrays]:
    runs = {"whole": _named(model.contract, model(**arrays))}
    if model.contract.lengths:
        return runs  # a chunk after a sequence's end has no length
    if model.contract.carry:
        cuts = [0, *sorted({sequence // 3, sequence // 2}), sequence]
        spans = [range(a, b) for a, b in pairwise(cuts) if b > a]
        runs["chunks"] = _parts(model, arrays, batch, spans)
    if model.contract.step is not None:
        hop = model.contract.hop
        hops = [range(at, at + hop) for at in range(0, sequence, hop)]
        runs["steps"] = _parts(model, arrays, batch, range(sequence) if hop == 1 else hops)
    return runs


def _parts(model: Model, arrays: Arrays, batch: int, spans: Sequence[range] | range) -> Arrays:
    """Run parts of the sequence one after the other in a stream and join what they give."""
    contract = model.contract
    stream = model.stream(batch)
    stepwise = isinstance(spans, range)
    parts: list[Arrays] = []
    for span in spans:
        part = {
            port.name: _part(port, arrays[port.name], span)
            for port in contract.data_inputs("sequence")
        }
        out = stream.step(**part) if stepwise else stream.feed(**part)
        parts.append(_named(contract, out))
    return {
        port.name: join_chunks(port, [part[port.name] for part in parts], batch, stepwise)
        for port in contract.data_outputs("sequence")
    }


def _part(port: Port, array: NDArray[Any], span: range | int) -> NDArray[Any]:
    axis = port.axis(SEQUENCE)
    return array if axis is None else array.take(span, axis)


def _named(contract: Contract, outputs: Any) -> Arrays:
    if isinstance(outputs, dict):
        return outputs
    return {contract.data_outputs("sequence")[0].name: outputs}
