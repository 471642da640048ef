"""Ways to run one recurrent layer on one thread, each called in the way that serves it best.

A way is a function `(case, layer, artifact, folder) → Run`. One that does not take the layer raises
`Unavailable` with the reason; so does one whose package is not installed.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from layer import Layer

import edgernn

__all__ = ["WAYS", "Case", "Run", "Unavailable"]

Array = np.ndarray


class Unavailable(Exception):
    """Raised where a way does not run a case; its text says why."""


@dataclass(frozen=True)
class Case:
    """One layer and the sizes that it runs at.

    Attributes:
        kind: `LSTM`, `GRU` or `RNN`.
        hidden: The size of its state and of its input.
        batch: The number of sequences.
        steps: The number of steps in one call; 1 for steps of one running state.
    """

    kind: str
    hidden: int
    batch: int = 1
    steps: int = 1

    @property
    def by_steps(self) -> bool:
        """Whether one state runs step by step."""
        return self.steps == 1

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states."""
        return ("h", "c") if self.kind == "LSTM" else ("h",)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what one call takes: (batch, hidden), or (batch, steps, hidden)."""
        inner = () if self.by_steps else (self.steps,)
        return (self.batch, *inner, self.hidden)


@dataclass(frozen=True)
class Run:
    """One way to run a case.

    Attributes:
        call: Runs what `prepare` returned. By steps, the state goes on from call to call.
        prepare: Makes the input that `call` takes from an array; not part of the time.
        to_array: Makes an array of the output; not part of the time.
    """

    call: Callable[[Any], Any]
    prepare: Callable[[Array], Any] = lambda x: x
    to_array: Callable[[Any], Array] = np.asarray


class LayerWithState(torch.nn.Module):
    """The same with its states as arguments and results, as one writes it to export by hand."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.rnn = layer.rnn

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run from the states."""
        given = states if len(states) > 1 else states[0]
        output, after = self.rnn(x, given)
        return (output, *(after if isinstance(after, tuple) else (after,)))


def by_edgernn(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run with `edgernn.load`: `Stream.step`, or the model over whole sequences."""
    model = edgernn.load(artifact.path, threads=1)
    return Run(model.stream(case.batch).step if case.by_steps else model)


def by_torch(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run the module in eager torch."""
    return _torch_run(case, layer.rnn)


def by_torch_cell(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run torch's cell with the layer's weights, which takes single steps."""
    if not case.by_steps:
        raise Unavailable("a cell takes single steps")
    cell = getattr(torch.nn, f"{case.kind}Cell")(case.hidden, case.hidden)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.rnn.state_dict().items()})
    state: Any = None

    @torch.inference_mode()
    def call(x: torch.Tensor) -> Any:
        nonlocal state
        state = cell(x, state)
        return state

    to_array = (lambda y: y[0].numpy()) if case.kind == "LSTM" else (lambda y: y.numpy())
    return Run(call, torch.from_numpy, to_array)


def by_torch_compile(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run the module compiled by torch.compile."""
    torch.compiler.reset()
    return _torch_run(case, torch.compile(layer.rnn, dynamic=False))


def _torch_run(case: Case, rnn: Any) -> Run:
    if not case.by_steps:

        @torch.inference_mode()
        def run(x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = rnn(x)[0]
            return output

        return Run(run, torch.from_numpy, lambda y: y.numpy())
    shape = (1, case.batch, case.hidden)
    zeros = tuple(torch.zeros(shape) for _ in case.states)
    state: Any = zeros if len(zeros) > 1 else zeros[0]

    @torch.inference_mode()
    def step(x: torch.Tensor) -> torch.Tensor:
        nonlocal state
        output, state = rnn(x, state)
        return output

    return Run(step, lambda x: torch.from_numpy(x)[:, None], lambda y: y[:, 0].numpy())


def by_torch_export(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run what torch.onnx.export writes, with `session.run` and the states fed back as arrays."""
    file = folder / f"torch-{case.kind}{case.hidden}-{case.by_steps}.onnx"
    states = case.states if case.by_steps else ()
    names = [f"{name}_in" for name in states]
    results = ["output", *(f"{name}_out" for name in states)]
    if not file.exists():
        _export_by_torch(case, layer, file, names, results)
    session = onnxruntime.InferenceSession(
        str(file), one_thread_options(), providers=["CPUExecutionProvider"]
    )
    if not case.by_steps:
        return Run(lambda x: session.run(None, {"x": x})[0])
    zero = np.zeros((1, case.batch, case.hidden), np.float32)
    now = [zero] * len(states)

    def step(x: Array) -> Array:
        nonlocal now
        output, *now = session.run(results, {"x": x, **dict(zip(names, now, strict=True))})
        return output

    return Run(step, lambda x: x[:, None].copy(), lambda y: y[:, 0])


def _export_by_torch(
    case: Case, layer: Layer, file: Path, names: Sequence[str], results: Sequence[str]
) -> None:
    """Write the layer, or its single step with states, with torch's exporter.

    Its axes are `Dim.DYNAMIC`; its cache of decompositions is cleared, which a second layer of a
    kind in one process needs.
    """
    from torch.export import Dim

    logging.getLogger("torch").setLevel(logging.ERROR)
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        operator._dispatch_cache.clear()
    module: torch.nn.Module = LayerWithState(layer) if case.by_steps else layer
    x = torch.zeros(2, 1 if case.by_steps else 3, case.hidden)
    state = torch.zeros(1, 2, case.hidden)
    axes: Any = ({0: Dim.DYNAMIC} if case.by_steps else {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)
    if case.by_steps:
        axes = (axes[0], ({1: Dim.DYNAMIC},) * len(names))
    try:
        torch.onnx.export(
            module,
            (x, *(state.clone() for _ in names)),
            str(file),
            input_names=["x", *names],
            output_names=list(results),
            dynamo=True,
            dynamic_shapes=axes,
            verbose=False,
        )
    except Exception as error:
        raise Unavailable(f"torch.onnx.export fails: {type(error).__name__}") from error


def by_openvino(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run edgernn's graphs in OpenVINO, with the states fed back as arrays."""
    openvino = _package("openvino")
    file = artifact.step if case.by_steps else artifact.sequence
    request = _compiled(openvino, openvino.Core().read_model(file), case).create_infer_request()
    contract = artifact.contract
    kind = "step" if case.by_steps else "sequence"
    data, output = contract.data_inputs(kind)[0].name, contract.data_outputs(kind)[0].name
    pairs = [(state.input, state.output) for state in contract.states]
    feeds = {s.input: contract.initial(s, case.batch) for s in contract.states}
    if not case.by_steps:
        return Run(lambda x: request.infer({data: x, **feeds}, share_outputs=True)[output])

    def step(x: Array) -> Array:
        found = request.infer({data: x, **feeds})
        feeds.update((before, found[after]) for before, after in pairs)
        result: Array = found[output]
        return result

    return Run(step)


def by_stateful_openvino(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run edgernn's step graph in OpenVINO with states that it keeps itself (MakeStateful)."""
    if not case.by_steps:
        raise Unavailable("a sequence starts from its initial state")
    openvino = _package("openvino")
    transformations = _package("openvino._offline_transformations")
    contract = artifact.contract
    model = openvino.Core().read_model(artifact.step)
    ports = contract.graphs["step"].inputs
    model.reshape(
        {p.name: [d if isinstance(d, int) else case.batch for d in p.shape] for p in ports}
    )
    pairs = {state.input: state.output for state in contract.states}
    transformations.apply_make_stateful_transformation(model, pairs)
    request = _compiled(openvino, model, case).create_infer_request()
    output = contract.data_outputs("step")[0].name
    return Run(lambda x: request.infer(x, share_inputs=True)[output], lambda x: x)


def _compiled(openvino: Any, model: Any, case: Case) -> Any:
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def by_ncnn(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run what pnnx makes of the module, in ncnn with fp32 weights."""
    if case.batch > 1:
        raise Unavailable("its layers take one sequence")
    ncnn = _package("ncnn")
    file = folder / f"ncnn_{case.kind}_{case.hidden}_{case.steps}.pt"
    if not file.exists():
        _convert_by_pnnx(case, layer, file)
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    stem = str(file.with_suffix(""))
    if net.load_param(f"{stem}.ncnn.param") or net.load_model(f"{stem}.ncnn.bin"):
        raise Unavailable("ncnn does not load what pnnx wrote")
    zeros = [np.zeros((1, case.hidden), np.float32) for _ in case.states]
    start = [ncnn.Mat(zero).clone() for zero in zeros]
    outputs = [f"out{place}" for place in range(1 + len(start))]

    def run(x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        extractor = net.create_extractor()
        extractor.input("in0", x)
        for place, state in enumerate(states, 1):
            extractor.input(f"in{place}", state)
        output, *after = (extractor.extract(name)[1] for name in outputs)
        return output, after

    now = start

    def step(x: Any) -> Any:
        nonlocal now
        output, now = run(x, now)
        return output

    def to_array(y: Any) -> Array:
        return np.array(y).reshape(case.shape)

    call = step if case.by_steps else lambda x: run(x, start)[0]
    return Run(call, lambda x: ncnn.Mat(x.reshape(-1, case.hidden)).clone(), to_array)


def _convert_by_pnnx(case: Case, layer: Layer, file: Path) -> None:
    state = torch.zeros(1, 1, case.hidden)
    inputs = (torch.zeros(1, case.steps, case.hidden), *(state.clone() for _ in case.states))
    torch.jit.trace(LayerWithState(layer), inputs, check_trace=False).save(str(file))
    shapes = ",".join(str(list(value.shape)).replace(" ", "") for value in inputs)
    program = Path(sys.executable).with_name("pnnx")
    if not program.exists():
        raise Unavailable("`pip install pnnx` first")
    command = [str(program), str(file), f"inputshape={shapes}", "fp16=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not file.with_suffix(".ncnn.param").exists():
        raise Unavailable(f"pnnx exits with {done.returncode}")


def by_tract(case: Case, layer: Layer, artifact: edgernn.Artifact, folder: Path) -> Run:
    """Run edgernn's graphs in tract, with the states fed back as its own tensors."""
    tract = _package("tract")
    contract = artifact.contract
    kind = "step" if case.by_steps else "sequence"
    model = tract.onnx().load(str(artifact.step if case.by_steps else artifact.sequence))
    plan = model.into_model()
    sizes = {"batch": case.batch, "sequence": case.steps}
    known = {axis for port in contract.graphs[kind].inputs for axis in port.axes}
    plan.transform(tract.SetSymbols({axis: sizes[axis] for axis in sizes if axis in known}))
    plan = plan.into_runnable()
    start = [tract.Tensor.from_numpy(contract.initial(s, case.batch)) for s in contract.states]
    if not case.by_steps:
        return Run(
            lambda x: plan.run([x, *start])[0], tract.Tensor.from_numpy, lambda y: y.to_numpy()
        )
    now = start

    def step(x: Any) -> Any:
        nonlocal now
        output, *now = plan.run([x, *now])
        return output

    return Run(step, tract.Tensor.from_numpy, lambda y: y.to_numpy())


def one_thread_options() -> Any:
    """Return ONNX Runtime's options for one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"`pip install {name.split('.')[0]}` first") from error


WAYS = {
    "edgernn": by_edgernn,
    "torch, layer": by_torch,
    "torch, cell": by_torch_cell,
    "torch.compile": by_torch_compile,
    "torch's export, run()": by_torch_export,
    "OpenVINO": by_openvino,
    "OpenVINO, stateful": by_stateful_openvino,
    "ncnn": by_ncnn,
    "tract": by_tract,
}
"""Name of a way → the function that prepares it."""
