"""Sequence graphs in operator form, drawn at random from a description, and ways to run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Feeds = dict[str, Array]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Layers:
    """A stack of recurrent layers with what stands around it."""

    kind: str = "LSTM"
    layers: int = 1
    batch_first: bool = True
    embedding: int | None = None
    head: str | None = None
    output: str = "all"
    batch: int | str = "batch"
    unbatched: bool = False
    activation: str | None = None
    linear_before_reset: int = 1
    input_size: int = 5
    hidden_size: int = 7
    head_size: int = 6

    @property
    def states(self) -> list[str]:
        return ["h", "c"] if self.kind == "LSTM" else ["h"]


class _Writer:
    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attrs: Any) -> Any:
        name = f"n{len(self.nodes)}"
        names = [name if outputs == 1 else f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op_type, inputs, names, name=f"{op_type}_{name}", **attrs)
        )
        return names[0] if outputs == 1 else names

    def constant(self, array: Any) -> str:
        name = f"k{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def draw(self, *shape: int) -> str:
        return self.constant(self.random.uniform(-0.5, 0.5, shape).astype(np.float32))


def operator_form(spec: Layers, seed: int = 0) -> ir.Model:
    """Return the sequence graph that `spec` describes, with random weights."""
    write = _Writer(seed)
    value, inputs = _front(spec, write)
    finals: dict[str, list[str]] = {letter: [] for letter in spec.states}
    for layer in range(spec.layers):
        value = _layer(spec, write, value, layer, finals)
    output, shape = _back(spec, write, value)
    outputs = [(output, "output", shape)]
    batch: list[int | str] = [] if spec.unbatched else [spec.batch]
    state: list[int | str] = [spec.layers, *batch, spec.hidden_size]
    for letter in spec.states:
        inputs.append(helper.make_tensor_value_info(f"{letter}_in", TensorProto.FLOAT, state))
        final = finals[letter]
        whole = write.node("Concat", *final, axis=0) if spec.layers > 1 else final[0]
        if spec.unbatched:
            whole = write.node("Squeeze", whole, write.constant(np.array([1])))
        outputs.append((whole, f"{letter}_out", state))
    for value, name, _ in outputs:
        write.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}_identity"))
    graph = helper.make_graph(
        write.nodes,
        "main",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for _, name, dims in outputs],
        write.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"edgernn.contract": "1"})
    onnx.checker.check_model(model, full_check=True)
    return ir.from_proto(model)


def _front(spec: Layers, write: _Writer) -> tuple[str, list[onnx.ValueInfoProto]]:
    axes: list[int | str] = ["sequence"] if spec.unbatched else ["sequence", spec.batch]
    axes = axes[::-1] if spec.batch_first else axes
    if spec.embedding:
        port = helper.make_tensor_value_info("x", TensorProto.INT64, axes)
        value = write.node("Gather", write.draw(spec.embedding, spec.input_size), "x")
    else:
        port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [*axes, spec.input_size])
        value = "x"
    if spec.unbatched:
        value = write.node("Unsqueeze", value, write.constant(np.array([1])))
    elif spec.batch_first:
        value = write.node("Transpose", value, perm=[1, 0, 2])
    return value, [port]


def _layer(
    spec: Layers, write: _Writer, value: str, layer: int, finals: dict[str, list[str]]
) -> str:
    gates, size = GATES[spec.kind] * spec.hidden_size, spec.hidden_size
    width = spec.input_size if layer == 0 else size
    initial = []
    for letter in spec.states:
        state = f"{letter}_in"
        if spec.layers > 1:
            bounds = [write.constant(np.array([n])) for n in (layer, layer + 1, 0)]
            state = write.node("Slice", state, *bounds)
        if spec.unbatched:
            state = write.node("Unsqueeze", state, write.constant(np.array([1])))
        initial.append(state)
    attrs: dict[str, Any] = {"hidden_size": size}
    if spec.kind == "GRU":
        attrs["linear_before_reset"] = spec.linear_before_reset
    if spec.activation:
        attrs["activations"] = [spec.activation]
    weights = write.draw(1, gates, width), write.draw(1, gates, size), write.draw(1, 2 * gates)
    y, *last = write.node(
        spec.kind, value, *weights, "", *initial, outputs=1 + len(spec.states), **attrs
    )
    for letter, final in zip(spec.states, last, strict=True):
        finals[letter].append(final)
    squeezed: str = write.node("Squeeze", y, write.constant(np.array([1])))
    return squeezed


def _back(spec: Layers, write: _Writer, value: str) -> tuple[str, list[int | str]]:
    time = 0
    shape: list[int | str] = ["sequence", spec.batch]
    if spec.unbatched:
        value, shape = write.node("Squeeze", value, write.constant(np.array([1]))), ["sequence"]
    elif spec.batch_first:
        value = write.node("Transpose", value, perm=[1, 0, 2])
        shape, time = [spec.batch, "sequence"], 1
    if spec.output == "last":
        value = write.node("Gather", value, write.constant(np.array(-1)), axis=time)
        shape.remove("sequence")
    if spec.output == "last slice":
        bounds = [write.constant(np.array([n])) for n in (-1, 2**62, time)]
        value = write.node("Slice", value, *bounds)
        shape[time] = 1
    width = spec.hidden_size
    if spec.head:
        value = write.node("MatMul", value, write.draw(spec.hidden_size, spec.head_size))
        value = write.node("Add", value, write.draw(spec.head_size))
        width = spec.head_size
        if spec.head != "Linear":
            value = write.node(spec.head, value, axis=-1)
    if spec.output == "flat":
        value = write.node("Reshape", value, write.constant(np.array([-1, width])))
        shape = ["*".join(sorted(str(size) for size in shape if size != 1))]
    return value, [*shape, width]


def session(model: ir.Model) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session of `model` on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    proto = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])


def run(running: onnxruntime.InferenceSession, feeds: Feeds) -> Feeds:
    """Return the outputs by name, after checking each against its declared shape."""
    names = [port.name for port in running.get_outputs()]
    outputs = {
        name: np.asarray(array) for name, array in zip(names, running.run(None, feeds), strict=True)
    }
    sizes: dict[str, int] = {}
    for port in [*running.get_inputs(), *running.get_outputs()]:
        real = {**feeds, **outputs}[port.name].shape
        assert len(port.shape) == len(real), (port.name, port.shape, real)
        for size, came in zip(port.shape, real, strict=True):
            assert came == (sizes.setdefault(size, came) if isinstance(size, str) else size)
    return outputs


def draw_feeds(model: ir.Model, batch: int, sequence: int, **others: int) -> Feeds:
    """Return random inputs for `model`; ids are below 3."""
    random = np.random.default_rng(1)
    feeds: Feeds = {}
    for port in model.graph.inputs:
        assert port.shape is not None
        sizes = {"batch": batch, "sequence": sequence, **others}
        shape = [n if isinstance(n, int) else sizes[str(n)] for n in port.shape]
        if port.dtype == ir.DataType.INT64:
            feeds[str(port.name)] = random.integers(0, 3, shape)
        else:
            feeds[str(port.name)] = random.uniform(-1, 1, shape).astype(np.float32)
    return feeds


def axis_of(value: ir.Value) -> int | None:
    """Return the axis of `value` that is the sequence, or None."""
    shape = [size if isinstance(size, int) else size.value for size in value.shape or ()]
    return shape.index("sequence") if "sequence" in shape else None


def difference(whole: ir.Model, step: ir.Model, batch: int, sequence: int) -> float:
    """Run `whole` once and `step` for each time index; return the largest difference.

    An output without a sequence axis is compared after the last step; one that is flattened over
    it, step by step.
    """
    feeds = draw_feeds(whole, batch, sequence)
    expected = run(session(whole), feeds)
    running, state = session(step), dict(feeds)
    axes = {str(port.name): axis_of(port) for port in [*whole.graph.inputs, *whole.graph.outputs]}
    history: list[Feeds] = []
    for index in range(sequence):
        for name, array in feeds.items():
            if axes[name] is not None:
                state[name] = np.asarray(np.take(array, index, axes[name]))
        outputs = run(running, state)
        history.append(outputs)
        state |= {name.replace("_out", "_in"): outputs[name] for name in outputs if "_out" in name}
    worst = 0.0
    for name, array in expected.items():
        axis = axes[name]
        if axis is not None:
            came = np.stack([outputs[name] for outputs in history], axis)
        elif array.shape == history[-1][name].shape:
            came = history[-1][name]
        else:
            came = np.concatenate([outputs[name] for outputs in history])
        assert came.shape == array.shape
        worst = max(worst, float(np.abs(came - array).max()))
    return worst
