"""Steps captured as CUDA graphs: the kernels of a step are launched by one call.

ONNX Runtime captures a graph by running it several times, and a replay uses the memory of the
capture. So each order of the two sets of state buffers has a capture of its own, and no run reads
what it writes. What is captured has to give the numbers of the plain runs before it is used.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import Port
from edgernn.errors import EdgernnError
from edgernn.runtime.io_binding import Buffers, Run, bind_buffers, bound_run, read_on_host
from edgernn.runtime.providers import node_places, onnxruntime
from edgernn.runtime.sessions import Sessions

__all__ = ["captured_runs"]

Runs = tuple[Run, ...]

# cuDNN's recurrent layers copy from host memory while they run, which a replay would not repeat.
_NOT_CAPTURED = frozenset({"LSTM", "GRU", "RNN"})
_STEPS = 6
_TOLERANCE = {"float32": 1e-5, "float16": 2e-3}
_graph_ids = itertools.count(1)


def captured_runs(
    sessions: Sessions,
    states: tuple[Buffers, Buffers],
    data: Buffers,
    results: Buffers,
    plain: Runs,
) -> tuple[Runs | None, str]:
    """Capture the step graph in both orders of its state buffers.

    The content of `states` is that from before, when this returns; that of `data` and `results` is
    not.

    Args:
        sessions: The model's sessions.
        states: The two sets of state buffers, bound in turn.
        data: Buffers of the data inputs.
        results: Buffers of the data outputs.
        plain: Runs of the same buffers without a capture, from the first set and from the second.

    Returns:
        The captured runs in the order of `plain`, and an empty text; or None and the reason why
        there are none.
    """
    kept = [{name: buffer.read() for name, buffer in one.items()} for one in states]
    try:
        runs = _capture(sessions, states, data, results)
        ports = {port.name: port for port in sessions.contract.data_inputs("step")}
        traces = []
        for these in (plain, runs):
            _restore(states, kept)
            traces.append(list(_trace(these, states, data, results, ports)))
        reason = _first_difference(*traces)
        return (None, reason) if reason else (runs, "")
    except EdgernnError as error:
        return None, str(error).removesuffix(".")
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        return None, " ".join(str(error).split()).removesuffix(".")
    finally:
        _restore(states, kept)


def _capture(
    sessions: Sessions, states: tuple[Buffers, Buffers], data: Buffers, results: Buffers
) -> Runs:
    """Return the runs whose first call captures a graph and whose later ones replay it."""
    session = sessions.open_captured()
    found = sorted(_NOT_CAPTURED & {operator for operator, _ in node_places(session)})
    if found:
        raise EdgernnError(f"`{found[0]}` of cuDNN cannot be captured")
    device, runs = sessions.provider.device, []
    if names := sorted(read_on_host(session, device)):
        raise EdgernnError(f"`{names[0]}` is read on the host, which a replay does not do again")
    for before, after in (states, states[::-1]):
        number = next(_graph_ids)
        options = onnxruntime().RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        binding = bind_buffers(session, sessions.contract, data, results, before, after)
        if hasattr(session, "release_captured_graph"):
            release = weakref.finalize(binding, session.release_captured_graph, number)
            release.atexit = False
        runs.append(bound_run(session, binding, device, options))
    return tuple(runs)


def _trace(
    runs: Runs,
    states: tuple[Buffers, Buffers],
    data: Buffers,
    results: Buffers,
    ports: Mapping[str, Port],
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield outputs and states after each of some steps with inputs drawn from a fixed seed."""
    random = np.random.default_rng(0)
    for step in range(_STEPS):
        for name, buffer in data.items():
            buffer.write(_draw(random, ports[name], buffer.read()))
        runs[step % 2]()
        after = states[(step + 1) % 2]
        yield {
            **{f"output {name}": buffer.read() for name, buffer in results.items()},
            **{f"state {name}": buffer.read() for name, buffer in after.items()},
        }


def _draw(random: np.random.Generator, port: Port, like: NDArray[Any]) -> NDArray[Any]:
    """Draw an input of the shape and dtype of an array."""
    if like.dtype.kind == "f":
        drawn: NDArray[Any] = random.standard_normal(like.shape)
    else:
        drawn = random.integers(port.limit or 1, size=like.shape)
    return np.asarray(drawn).astype(like.dtype)


def _restore(states: Sequence[Buffers], kept: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    for buffers, arrays in zip(states, kept, strict=True):
        for name, array in arrays.items():
            buffers[name].write(array)


def _first_difference(
    expected: Sequence[Mapping[str, NDArray[Any]]], found: Sequence[Mapping[str, NDArray[Any]]]
) -> str:
    """Say in which step which tensor differs; empty where none does."""
    for step, (right, got) in enumerate(zip(expected, found, strict=True)):
        for name, array in right.items():
            within = _TOLERANCE.get(array.dtype.name, 0.0)
            if not np.allclose(array, got[name], rtol=within, atol=within, equal_nan=True):
                off = np.max(np.abs(array.astype(np.float64) - got[name].astype(np.float64)))
                return f"{name} of step {step} differs by {off:.1e} from a run without a capture"
    return ""
