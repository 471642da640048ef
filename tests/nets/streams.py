"""Models that remember past inputs, and hand-made graphs of them that take chunks of whole hops.

Each step graph is written as text; the sequence graph is a Scan over it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from edgernn.export.built import Built
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.states.contract_ports import Origins
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort

Weights = dict[str, NDArray[Any]]

SIZE, HIDDEN, TABLE = 4, 6, 40

LAYER = """
    z0 = Unsqueeze(z, zero)
    y0, h1 = GRU<hidden_size=6, linear_before_reset=1>(z0, W, R, B, nothing, h)
    y = Squeeze(h1, zero) output = Gemm<transB=1>(y, O, Ob)"""
"""One step of the GRU and what follows it, from z (batch, size); its state after it is h1."""

MASKED = (
    LAYER
    + """
    ready = GreaterOrEqual(position, delay) column = Unsqueeze(ready, one)
    h2 = Where(column, h1, h) position2 = Add(position, one)"""
)
"""The same, where the state stays as it is until the first defined frame."""

WINDOW = """
    row = Unsqueeze(x, one) window = Concat<axis=1>(context, row)
    context2 = Slice(window, one, end, one) flat = Flatten(window)
    c = Gemm<transB=1>(flat, K, Kb) z = Relu(c)"""
"""A convolution of three steps over x (batch, 4) and the two steps before it."""

SIX_OF_EIGHT = """
    window = Concat<axis=1>(context, x) six = Slice(window, zero, sixth, one)
    context2 = Identity(x) c = Gemm<transB=1>(six, K, Kb) z = Relu(c)"""
"""A frame of six samples that begins with the hop before: the last two samples come later."""

SIX = """
    window = Concat<axis=1>(context, x) context2 = Slice(x, second, end, one)
    c = Gemm<transB=1>(window, K, Kb) z = Relu(c)"""
"""A frame of the two samples before a hop and its four."""

PLACE = """
    place = Gather(T, position) z = Add(x, place) position2 = Add(position, one)"""

LESS_MEAN = """
    total2 = Add(total, x) position2 = Add(position, one) count = Cast<to=1>(position2)
    column = Unsqueeze(count, one) mean = Div(total2, column) z = Sub(x, mean)"""


class Net(nn.Module):
    """A convolution of three steps, a GRU and a head; `padding` steps of `value` at each end."""

    def __init__(self, padding: tuple[int, int], value: float = 0.0, given: bool = False):
        super().__init__()
        self.padding, self.value, self.given = padding, value, given
        self.conv, self.rnn = nn.Conv1d(SIZE, 5, 3), nn.GRU(5, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x, h=None):
        x = F.pad(x.transpose(1, 2), self.padding, value=self.value)
        y, last = self.rnn(self.conv(x).relu().transpose(1, 2), h)
        return (self.head(y), last) if self.given else self.head(y)


class Frames(nn.Module):
    """Frames of six samples, four apart, into a GRU; where `left` is 2, also back to samples."""

    def __init__(self, left: int):
        super().__init__()
        self.left, self.conv = left, nn.Conv1d(1, 5, 6, stride=4)
        self.rnn, self.head = nn.GRU(5, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 4)

    def forward(self, x):
        frames = self.conv(F.pad(x, (self.left, 0))[:, None]).relu().transpose(1, 2)
        y = self.head(self.rnn(frames)[0])
        return y.flatten(1) if self.left else y


class Positions(nn.Module):
    """A learned vector per position before a GRU."""

    def __init__(self):
        super().__init__()
        self.table, self.rnn = nn.Embedding(TABLE, SIZE), nn.GRU(SIZE, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x):
        return self.head(self.rnn(x + self.table(torch.arange(x.shape[1])))[0])


class Mean(nn.Module):
    """A GRU of inputs from which the mean so far is subtracted."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(SIZE, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 2)

    def forward(self, x):
        count = torch.arange(1, x.shape[1] + 1)[None, :, None]
        return self.head(self.rnn(x - x.cumsum(1) / count)[0])


@dataclass(frozen=True)
class Stream:
    """A model and one step of its graphs.

    Attributes:
        module: The model.
        inputs: The specs of its inputs.
        step: The nodes of one hop, from `x` and each state to `output` and each next state.
        states: Name of each state besides h → its type, and the name of its next value.
        h2: The name of the next value of h.
        x: The type of the input of one hop.
        output: The type of the output of one hop.
        frames: The number of steps of the output in the sequence graph.
        streaming: The hop and the delays.
        initial: Name of a state → what it holds before the first step, unless zeros.
    """

    module: Callable[[], nn.Module]
    step: str
    states: Mapping[str, tuple[str, str]]
    inputs: tuple[str, ...] = ("x:float32[batch,sequence,4]",)
    h2: str = "h1"
    x: str = "float[batch, 4]"
    output: str = "float[batch, 2]"
    frames: str = "sequence"
    streaming: Streaming = field(default_factory=Streaming)
    initial: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def build(
        self,
        module: nn.Module,
        example: ExampleCall,
        step: Callable[[str], str] = str,
        sequence: Callable[[str], str] = str,
    ) -> Built:
        """Return the graphs, each with its text changed by a function."""
        given = "h" in example.kwargs
        argument, result = ("h", "[1]") if given else (None, None)
        layer = StatePort("h", argument, result, 0, 0, any_value=True)
        contexts = tuple(
            StatePort(name, None, None, None, None, initial=self.initial.get(name), context=True)
            for name in self.states
        )
        output = "[0]" if given else ""
        inputs = {"x": "x", "h_in": argument}
        outputs = {"output": output, "h_out": result}
        return Built(
            sequence=self._model(sequence(self._sequence_text()), module),
            step=self._model(step(self._step_text()), module),
            no_step="",
            states=(*contexts, layer),
            origins=Origins(inputs, outputs, unused=()).with_contexts(contexts),
            module=module,
            example=example,
            is_step=False,
            carry=True,
            constant_batch=1,
            layers={"h": 1},
            model_layers=(),
            lengths={},
            streaming=self.streaming,
        )

    @property
    def _all(self) -> dict[str, tuple[str, str]]:
        return {**self.states, "h": (f"float[1, batch, {HIDDEN}]", self.h2)}

    def _step_text(self) -> str:
        """Return the step graph: states renamed to ports around the nodes of one hop."""
        ins = ", ".join(f"{type_} {name}_in" for name, (type_, _) in self._all.items())
        outs = ", ".join(f"{type_} {name}_out" for name, (type_, _) in self._all.items())
        before = " ".join(f"{name} = Identity({name}_in)" for name in self._all)
        after = " ".join(f"{name}_out = Identity({end})" for name, (_, end) in self._all.items())
        return (
            f"g ({self.x} x, {ins}) => ({self.output} output, {outs}) "
            f"{{ {before} {self.step} {after} }}"
        )

    def _sequence_text(self) -> str:
        """Return the sequence graph: a Scan over hops."""
        ins = ", ".join(f"{type_} {name}" for name, (type_, _) in self._all.items())
        nexts = ", ".join(f"{type_} {end}" for type_, end in self._all.values())
        ports = [f"{type_} {name}_in" for name, (type_, _) in self._all.items()]
        results = [f"{type_} {name}_out" for name, (type_, _) in self._all.items()]
        x, output = "float[batch, steps, 4] x", "float[batch, frames, 2] output"
        hops, joined = "xs = Identity(x)", "output = Identity(ys)"
        if self.streaming.hop > 1:
            x, hops = "float[batch, steps] x", "xs = Reshape(x, hops)"
            output = "float[batch, frames, 4] output"
        if self.frames.startswith("4"):
            output, joined = "float[batch, frames] output", "output = Flatten(ys)"
        return (
            f"g ({x}, {', '.join(ports)}) => ({output}, {', '.join(results)}) {{ {hops} "
            f"{', '.join(f'{name}_out' for name in self._all)}, ys = Scan<num_scan_inputs=1, "
            "scan_input_axes=[1], scan_output_axes=[1], "
            f"body = b ({ins}, {self.x} x) => ({nexts}, {self.output} output) {{ {self.step} }}>"
            f"({', '.join(f'{name}_in' for name in self._all)}, xs) {joined} }}"
        )

    def _model(self, text: str, module: nn.Module) -> ir.Model:
        delay = max(self.streaming.delays.values(), default=0)
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {text}')
        for name, array in {**_weights(module), "delay": np.array([delay])}.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        sizes = {"steps": "sequence", "frames": self.frames}
        for value in (*model.graph.input, *model.graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in sizes:
                    dim.dim_param = sizes[dim.dim_param]
        bodies = [one.g for node in model.graph.node for one in node.attribute if one.HasField("g")]
        for node in (node for graph in (model.graph, *bodies) for node in graph.node):
            node.input[:] = ["" if name == "nothing" else name for name in node.input]
        return ir.from_proto(model)


def _weights(module: nn.Module) -> Weights:
    """Return the initializers that the texts name."""
    state = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}

    def gates(name: str) -> NDArray[Any]:
        """Return a weight of the GRU in ONNX's order of gates: z, r, h."""
        r, z, n = np.split(state[f"rnn.{name}_l0"], 3)
        return np.concatenate((z, r, n))

    weights = {
        "W": gates("weight_ih")[None],
        "R": gates("weight_hh")[None],
        "B": np.concatenate((gates("bias_ih"), gates("bias_hh")))[None],
        "O": state["head.weight"],
        "Ob": state["head.bias"],
        "zero": np.array([0]),
        "one": np.array([1]),
        "end": np.array([1 << 30]),
        "hops": np.array([0, -1, 4]),
        "second": np.array([2]),
        "sixth": np.array([6]),
    }
    if "conv.weight" in state:
        kernel = state["conv.weight"].transpose(0, 2, 1)  # (output, step, input)
        weights |= {"K": kernel.reshape(len(kernel), -1), "Kb": state["conv.bias"]}
    if "table.weight" in state:
        weights["T"] = state["table.weight"]
    return weights


_CONTEXT = {"context": ("float[batch, 2, 4]", "context2")}
_POSITION = {"position": ("int64[batch]", "position2")}
_ONES = np.full((1, 2, SIZE), 0.5, np.float32)

STREAMS = {
    "causal": Stream(lambda: Net((2, 0)), WINDOW + LAYER, _CONTEXT),
    "causal_padded_with_a_half": Stream(
        lambda: Net((2, 0), 0.5), WINDOW + LAYER, _CONTEXT, initial={"context": _ONES}
    ),
    "without_padding": Stream(
        lambda: Net((0, 0)),
        WINDOW + MASKED,
        _CONTEXT | _POSITION,
        h2="h2",
        streaming=Streaming(delays={"output": 2}),
    ),
    "state_given": Stream(
        lambda: Net((0, 0), given=True),
        WINDOW + MASKED,
        _CONTEXT | _POSITION,
        ("x:float32[batch,sequence,4]", "h:float32[1,batch,6]"),
        h2="h2",
        streaming=Streaming(delays={"output": 2}),
    ),
    "padded_at_both_ends": Stream(
        lambda: Net((1, 1)),
        WINDOW + MASKED,
        _CONTEXT | _POSITION,
        h2="h2",
        streaming=Streaming(delays={"output": 1}, tails={"output": 1}, padding={"x": 0.0}),
    ),
    "frames": Stream(
        lambda: Frames(0),
        SIX_OF_EIGHT + MASKED,
        {"context": ("float[batch, 4]", "context2")} | _POSITION,
        ("x:float32[batch,sequence]",),
        h2="h2",
        output="float[batch, 4]",
        frames="sequence//4",
        streaming=Streaming(hop=4, delays={"output": 1}),
    ),
    "frames_and_back": Stream(
        lambda: Frames(2),
        SIX + LAYER,
        {"context": ("float[batch, 2]", "context2")},
        ("x:float32[batch,sequence]",),
        output="float[batch, 4]",
        frames="4*(sequence//4)",
        streaming=Streaming(hop=4),
    ),
    "positions": Stream(Positions, PLACE + LAYER, _POSITION),
    "mean": Stream(Mean, LESS_MEAN + LAYER, {"total": ("float[batch, 4]", "total2")} | _POSITION),
}
