"""A model that frames a signal, written by hand as graphs that take whole hops.

Each frame of `kernel` samples is convolved to 3 features, which are summed over time:

    scores = tanh(sum of features so far)     (batch, frames, 3)
    wave = scores · decoder                   (batch, hop · frames), as many samples as came in
    last = scores of the last frame           (batch, 3)

The signal is padded with `pad` on both sides. Samples of the first frame that the padding on the
left does not fill are a delay; padding on the right makes a tail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import edgernn
from edgernn.contract import Contract, Graph, Port, State
from edgernn.runtime import Model
from tests.nets import small_artifacts

Array = NDArray[Any]

FEATURES = 3
BODY = """
    joined = Concat <axis = 1> (context_in, signal)
    channel = Unsqueeze(joined, axis_1)
    features = Conv <kernel_shape = [KERNEL], strides = [HOP]> (channel, weights)
    frames = Transpose <perm = [0, 2, 1]> (features)
    shape = Shape(frames)
    count = Gather(shape, one)
    place = Range(zero, count, one)
    start = Unsqueeze(position_in, axis_1)
    index = Add(start, place)
    is_defined = GreaterOrEqual(index, delay)
    mask = Unsqueeze(is_defined, axis_2)
    kept = Where(mask, frames, nothing)
    sums = CumSum(kept, one)
    before = Unsqueeze(sum_in, axis_1)
    total = Add(sums, before)
    embedded = Gather(table, index)
    added = Add(total, embedded)
    all_scores = Tanh(added)
    decoded = MatMul(all_scores, decoder)
    all_samples = Reshape(decoded, flat)
    last = Gather <axis = 1> (all_scores, minus_one)
    sum_out = Gather <axis = 1> (total, minus_one)
    context_out = Slice(joined, context_start, end, axis_1)
    position_out = Add(position_in, count)
"""


@dataclass(frozen=True)
class Framed:
    """How a signal is framed.

    Attributes:
        kernel: The samples of a frame.
        hop: The samples from one frame to the next.
        left: The samples of padding in front, at most `kernel - hop`.
        right: The samples of padding after the end.
        pad: The value of the padding.
        exact: Whether the contract says that padding the input gives the tail.
        rows: The rows of a table of positions, which ends there; None for a table of zeros that is
            long enough.
        gain: Whether there is an input `gain` (batch,), which scales the signal.
        rate: The sample rate in the contract.
    """

    kernel: int = 4
    hop: int = 2
    left: int = 0
    right: int = 0
    pad: float = 0.5
    exact: bool = True
    rows: int | None = None
    gain: bool = False
    rate: float | None = None

    @property
    def delay(self) -> int:
        return (self.kernel - self.hop - self.left) // self.hop

    @property
    def tail(self) -> int:
        return self.right // self.hop

    def __str__(self) -> str:
        return f"{self.kernel}/{self.hop}+{self.left}+{self.right}"

    def weights(self) -> dict[str, Array]:
        random = np.random.default_rng(0)
        rows = self.rows or 10_000
        table = np.zeros((rows, FEATURES), np.float32)
        if self.rows:
            table = random.normal(size=table.shape).astype(np.float32)
        return {
            "weights": random.normal(size=(FEATURES, 1, self.kernel)).astype(np.float32) / 4,
            "decoder": random.normal(size=(FEATURES, self.hop)).astype(np.float32),
            "table": table,
        }

    def reference(self, x: Array) -> dict[str, Array]:
        """Return the outputs over whole signals (batch, samples), as the model itself has them."""
        weights = self.weights()
        total = self.totals(x)
        positions = weights["table"][self.delay :][: total.shape[1]]
        scores = np.tanh(total + positions)
        wave = (scores @ weights["decoder"]).reshape(len(x), -1)
        return {"scores": scores, "wave": wave, "last": scores[:, -1]}

    def totals(self, x: Array) -> Array:
        """Return the sums (batch, frames, 3) of the features of all frames so far."""
        filled = np.pad(x, ((0, 0), (self.left, self.right)), constant_values=self.pad)
        starts = range(0, filled.shape[1] - self.kernel + 1, self.hop)
        frames = np.stack([filled[:, i : i + self.kernel] for i in starts], 1)
        total: Array = np.cumsum(frames @ self.weights()["weights"][:, 0].T, 1)
        return total

    def contract(
        self, graphs: tuple[str, ...] = ("sequence", "step"), steps: Any = None
    ) -> Contract:
        """Return the contract of the graphs; the sequence graph takes `steps` steps, or any."""
        context, hop = self.kernel - self.hop, self.hop
        states = (
            Port("context_in", "float32", ("batch", context)),
            Port("position_in", "int64", ("batch",), limit=self.rows),
            Port("sum_in", "float32", ("batch", FEATURES)),
        )
        finals = tuple(
            replace(port, name=port.name.replace("_in", "_out"), limit=None) for port in states
        )
        gain = (Port("gain", "float32", ("batch",), "gain"),) if self.gain else ()
        size, named = steps or "sequence", ("batch", "sequence")
        frames = steps // hop if steps else "sequence" if hop == 1 else f"sequence//{hop}"
        samples = steps or ("sequence" if hop == 1 else f"{hop}*(sequence//{hop})")
        names = ("sequence", "sequence")
        if hop > 1:
            names = (f"sequence//{hop}", f"{hop}*(sequence//{hop})")
        whole = Graph(
            (Port("x", "float32", ("batch", size), "x").with_axes(named), *gain, *states),
            (
                Port("scores", "float32", ("batch", frames, FEATURES), "[0]").with_axes(
                    ("batch", names[0], None)
                ),
                Port("wave", "float32", ("batch", samples), "[1]").with_axes(("batch", names[1])),
                Port("last", "float32", ("batch", FEATURES), "[2]"),
                *finals,
            ),
        )
        one_hop = ("batch",) if hop == 1 else ("batch", hop)
        axes = ("batch",) if hop == 1 else ("batch", "hop")
        step = Graph(
            (Port("x", "float32", one_hop, "x").with_axes(axes), *gain, *states),
            (
                Port("scores", "float32", ("batch", FEATURES), "[0]"),
                Port("wave", "float32", one_hop, "[1]").with_axes(axes),
                Port("last", "float32", ("batch", FEATURES), "[2]"),
                *finals,
            ),
        )
        delays = {"scores": self.delay, "wave": self.delay * hop, "last": self.delay}
        tails = {"scores": self.tail, "wave": self.tail * hop, "last": self.tail}
        initial = np.full((1, context), self.pad, np.float32) if self.left else None
        return Contract(
            small_artifacts.FAMILY,
            f"Framed {self}",
            (
                State("context", "context_in", "context_out", initial),
                State("position", "position_in", "position_out"),
                State("sum", "sum_in", "sum_out"),
            ),
            True,
            {
                kind: graph
                for kind, graph in (("sequence", whole), ("step", step))
                if kind in graphs
            },
            hop=hop,
            delays=delays if self.delay else {},
            tails=tails if self.tail else {},
            padding={"x": self.pad} if self.tail and self.exact else {},
            sample_rate=self.rate,
        )

    def model(self, contract: Contract, kind: str) -> onnx.ModelProto:
        """Return a graph of the contract."""
        constants = {"zero": 0, "one": 1, "minus_one": -1, "delay": self.delay}
        lists = {"axis_1": [1], "axis_2": [2], "flat": [0, -1], "end": [2**62]}
        lists["context_start"] = [self.hop - self.kernel]
        body = BODY.replace("KERNEL", str(self.kernel)).replace("HOP", str(self.hop))
        one = kind == "step" and self.hop == 1
        text = "samples = Unsqueeze(x, axis_1)" if one else "samples = Identity(x)"
        text += "\nsignal = Identity(samples)"
        if self.gain:
            text = text.replace("Identity(samples)", "Mul(samples, gains)")
            text = f"gains = Unsqueeze(gain, axis_1)\n{text}"
        squeeze = "Squeeze({}, axis_1)".format
        identity = "Identity({})".format
        text += f"\n{body}\nscores = " + (squeeze if kind == "step" else identity)("all_scores")
        text += "\nwave = " + (squeeze if one else identity)("all_samples")
        graph = contract.graphs[kind]
        sides = (
            ", ".join(_declared(port, place) for place, port in enumerate(ports))
            for ports in (graph.inputs, graph.outputs)
        )
        proto = small_artifacts.model(
            "framed ({}) => ({}) {{ {} }}".format(*sides, text),
            **{name: np.array(value) for name, value in (constants | lists).items()},
            nothing=np.array(0, np.float32),
            **self.weights(),
        )
        for port, value in zip(
            (*graph.inputs, *graph.outputs), (*proto.graph.input, *proto.graph.output), strict=True
        ):
            for size, dim in zip(port.shape, value.type.tensor_type.shape.dim, strict=True):
                if isinstance(size, str):
                    dim.dim_param = size
        return proto

    def golden(self, contract: Contract, steps: int) -> dict[str, Array]:
        """Return a recorded run; steps that are not defined are 9."""
        x = np.random.default_rng(1).normal(size=(2, steps)).astype(np.float32)
        hops = steps // self.hop
        found = self.reference(x)
        arrays = {f"{state.name}_in": contract.initial(state, 2) for state in contract.states} | {
            "x": x
        }
        for name, rate in (("scores", 1), ("wave", self.hop)):
            whole = found[name][:, : rate * (hops - self.delay)]
            width = ((0, 0), (self.delay * rate, 0), (0, 0))[: whole.ndim]
            arrays[name] = np.pad(whole, width, constant_values=9)
        arrays["last"] = arrays["scores"][:, -1]
        padded = np.concatenate([arrays["context_in"], x], 1)
        arrays["context_out"] = padded[:, self.hop - self.kernel :]
        arrays["position_out"] = np.full(2, hops)
        arrays["sum_out"] = self.totals(x)[:, hops - self.delay - 1]
        if contract.sequence is None:
            arrays["scores"] = arrays["last"] = np.moveaxis(arrays["scores"], 1, 0)
            if self.hop == 1:
                arrays |= {"x": x.T, "wave": arrays["wave"].T}
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _declared(port: Port, place: int) -> str:
    """Return a port as the text of a graph declares it; an expression becomes a name."""
    dtype = {"float32": "float", "int64": "int64"}[port.dtype]
    names = [
        str(size) if isinstance(size, int) or size.isidentifier() else f"size_{place}"
        for size in port.shape
    ]
    return f"{dtype}[{', '.join(names)}] {port.name}"


def write(
    path: Path,
    framed: Framed,
    graphs: tuple[str, ...] = ("sequence", "step"),
    steps: int | None = None,
) -> Model:
    """Write the artifact and return it loaded."""
    contract = framed.contract(graphs, steps)
    models = {kind: framed.model(contract, kind) for kind in graphs}
    total = framed.hop * 9 if steps is None else 2 * steps
    return edgernn.load(
        small_artifacts.write(path, contract, models, framed.golden(contract, total))
    )
