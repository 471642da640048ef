"""Load one graph in one runtime and run it on recorded inputs; a process of its own per load.

    worker.py RUNTIME GRAPH.onnx FOLDER

FOLDER holds one folder per size, with one `NAME.npy` per input of the graph; `NAME.out.npy` per
output is written beside them. Exit 0: it loaded and ran; 3: the runtime raised an error, which is
printed. Any other exit code is not the runtime's own refusal but an abort of the process or a
mistake in this file. Runs in the environment that `scripts/matrix` makes, where there is no edgernn
and no torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

REFUSED = 3

Arrays = dict[str, Any]
Run = Callable[[Arrays], Arrays]


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


RUNTIMES: dict[str, tuple[str, Callable[[Path, list[str], Any], Run]]] = {
    "ONNX Runtime": ("onnxruntime", onnx_runtime),
    "OpenVINO": ("openvino", openvino),
    "tract": ("tract", tract),
    "OpenCV": ("cv2", opencv),
}


def main(name: str, graph: Path, folder: Path) -> int:
    """Run `graph` at every size that `folder` holds inputs for; return the exit code."""
    module, load = RUNTIMES[name]
    runtime = importlib.import_module(module)
    outputs = [value.name for value in onnx.load(graph).graph.output]
    cases = {
        case: {file.stem: np.load(file) for file in case.glob("*.npy")}
        for case in sorted(folder.iterdir())
    }
    try:
        run = load(graph, outputs, runtime)
        results = {case: run(feeds) for case, feeds in cases.items()}
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    for case, arrays in results.items():
        for output, array in arrays.items():
            np.save(case / f"{output}.out.npy", array)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
