"""Load graphs in one runtime, one after the other, and run them on recorded inputs.

    worker.py RUNTIME FOLDER…

Each FOLDER holds `graph.onnx` and `cases`, with one folder per size and in it one `NAME.npy` per
input of the graph. `RUNTIME/outcome` is written beside them: `runs`, or the error that the runtime
raised; and `RUNTIME/CASE/NAME.npy` per output. A folder that has none when the process has ended is
the one that ended it. Runs in the environment that
`scripts/matrix` makes, where there is no edgernn and no torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

RUNS = "runs"

Arrays = dict[str, Any]
Run = Callable[[Arrays], Arrays]
Load = Callable[[Path, list[str], Any], Run]


def onnx_runtime(graph: Path, outputs: list[str], runtime: Any) -> Run:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda feeds: dict(zip(outputs, session.run(outputs, feeds), strict=True))


def openvino(graph: Path, outputs: list[str], runtime: Any) -> Run:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    model = runtime.Core().compile_model(graph, "CPU", settings)

    def run(feeds: Arrays) -> Arrays:
        results = model(feeds)
        return {name: results[name] for name in outputs}

    return run


def tract(graph: Path, outputs: list[str], runtime: Any) -> Run:
    model = runtime.onnx().load(graph)
    inputs = [model.input_name(place) for place in range(model.input_count())]
    runnable = model.into_model().into_runnable()

    def run(feeds: Arrays) -> Arrays:
        results = runnable.run([feeds[name] for name in inputs])
        return {name: value.to_numpy() for name, value in zip(outputs, results, strict=True)}

    return run


def opencv(graph: Path, outputs: list[str], runtime: Any) -> Run:
    network = runtime.dnn.readNetFromONNX(str(graph))

    def run(feeds: Arrays) -> Arrays:
        for name, array in feeds.items():
            network.setInput(array, name)
        return dict(zip(outputs, network.forward(outputs), strict=True))

    return run


RUNTIMES: dict[str, tuple[str, Load]] = {
    "ONNX Runtime": ("onnxruntime", onnx_runtime),
    "OpenVINO": ("openvino", openvino),
    "tract": ("tract", tract),
    "OpenCV": ("cv2", opencv),
}


def main(name: str, folders: list[Path]) -> None:
    """Run every graph at every size that there are inputs for."""
    module, load = RUNTIMES[name]
    runtime = importlib.import_module(module)
    for folder in folders:
        target = folder / name
        target.mkdir()
        try:
            run_cases(folder, target, load, runtime)
            outcome = RUNS
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        (target / "outcome").write_text(outcome, "utf-8")


def run_cases(folder: Path, target: Path, load: Load, runtime: Any) -> None:
    graph = folder / "graph.onnx"
    outputs = [value.name for value in onnx.load(graph).graph.output]
    run = load(graph, outputs, runtime)
    for case in sorted((folder / "cases").iterdir()):
        results = run({file.stem: np.load(file) for file in case.glob("*.npy")})
        (target / case.name).mkdir()
        for output, array in results.items():
            np.save(target / case.name / f"{output}.npy", array)


if __name__ == "__main__":
    main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
