"""Small artifacts written by hand, each with its numbers computed in NumPy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgernn.artifact import Artifact
from edgernn.contract import Contract, Graph, Port, State
from edgernn.report import Check, Cost, ParityReport
from edgernn.vocabulary import Vocabulary

Array = NDArray[Any]
FAMILY = "0123456789abcdef"
PARITY = ParityReport(
    "eager torch",
    1e-5,
    (Check("whole", "sequence", 1, 5, "zero", 2e-8), Check("steps", "step", 1, 1, "zero", 1e-8)),
)
HEADER = '<ir_version: 8, opset_import: ["" : 18]>\n'


def rnn(x: Array, h: Array, w: Array, r: Array) -> tuple[Array, Array]:
    """Run `h = tanh(x wᵀ + h rᵀ)` over `(sequence, batch, input_size)`."""
    rows = []
    for x_t in x:
        h = np.tanh(x_t @ w.T + h @ r.T)
        rows.append(h)
    return np.stack(rows), h


def write(
    path: Path, contract: Contract, models: dict[str, onnx.ModelProto], golden: dict[str, Array]
) -> Path:
    """Write an artifact folder as the export does."""
    (path / "golden").mkdir(parents=True)
    for name, array in golden.items():
        np.save(path / "golden" / f"{name}.npy", array)
    digests = {}
    for kind, model in models.items():
        helper.set_model_props(model, contract.metadata(kind))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path / f"{kind}.onnx")
        digests[f"{kind}.onnx"] = hashlib.sha256((path / f"{kind}.onnx").read_bytes()).hexdigest()
    artifact = Artifact(
        path,
        contract,
        PARITY,
        Cost(parameters=1314816, multiply_adds=128, weight_bytes=512, state_bytes=32),
        {"opencv": "has no RNN operator"},
        digests,
    )
    (path / "contract.json").write_text(json.dumps(artifact.to_json(), indent=2))
    return path


def model(text: str, **weights: Array) -> onnx.ModelProto:
    """Return the model that `text` describes, with its weights."""
    proto = onnx.parser.parse_model(HEADER + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def hello(path: Path) -> Path:
    """Write a character model of batch 1 only that answers `hello` with `ohlol`.

    Four units hold the symbol, four more the one before it; after a second `l` comes `o`.
    """
    table = np.eye(4, dtype=np.float32)
    w = np.vstack([np.eye(4), np.zeros((4, 4))]).astype(np.float32)
    r = np.zeros((8, 8), np.float32)
    r[4:, :4] = np.eye(4)
    head = np.zeros((8, 4), np.float32)  # symbols: h e l o
    for symbol, answer, score in ((0, 3, 9), (1, 0, 9), (2, 2, 1), (3, 2, 9), (6, 3, 3)):
        head[symbol, answer] = score
    x = np.array([[0], [1], [2], [2], [3]])
    h = np.zeros((1, 8), np.float32)
    rows, final = rnn(table[x], h, w, r)
    states = (State("h", "h_in", "h_out"),)
    h_in, h_out = Port("h_in", "float32", (1, 1, 8)), Port("h_out", "float32", (1, 1, 8))
    contract = Contract(
        FAMILY,
        "Embedding(4, 4) → RNN(4, 8)",
        states,
        True,
        {
            "sequence": Graph(
                (Port("x", "int64", ("sequence", 1), "x", 4), h_in),
                (Port("output", "float32", ("sequence", 4), ""), h_out),
            ),
            "step": Graph(
                (Port("x", "int64", (1,), "x", 4), h_in),
                (Port("output", "float32", (1, 4), ""), h_out),
            ),
        },
        Vocabulary(("h", "e", "l", "o")),
        str(PARITY),
        ("The batch axis is constant (1): forward fails at other sizes.",),
    )
    sequence = model(
        """
        hello (int64[sequence, 1] x, float[1, 1, 8] h_in)
            => (float[sequence, 4] output, float[1, 1, 8] h_out) {
            e = Gather(table, x)
            y, h_out = RNN <hidden_size = 8> (e, W, R, B, , h_in)
            flat = Reshape(y, shape)
            output = MatMul(flat, head)
        }""",
        table=table,
        W=w[None],
        R=r[None],
        B=np.zeros((1, 16), np.float32),
        head=head,
        shape=np.array([-1, 8]),
    )
    step = model(
        """
        hello (int64[1] x, float[1, 1, 8] h_in) => (float[1, 4] output, float[1, 1, 8] h_out) {
            e = Gather(table, x)
            h = Squeeze(h_in, zero)
            a = MatMul(e, W)
            b = MatMul(h, R)
            c = Add(a, b)
            d = Tanh(c)
            h_out = Unsqueeze(d, zero)
            output = MatMul(d, head)
        }""",
        table=table,
        W=np.ascontiguousarray(w.T),
        R=np.ascontiguousarray(r.T),
        head=head,
        zero=np.array([0]),
    )
    golden = {"x": x, "h_in": h[None], "output": rows[:, 0] @ head, "h_out": final[None]}
    return write(path, contract, {"sequence": sequence, "step": step}, golden)


W = np.array([[0.5, -0.25], [0.125, 1.0], [-0.75, 0.5]], np.float32)
R = np.array([[0.5, 0.0, 0.25], [-0.5, 0.25, 0.0], [0.0, 0.5, -0.25]], np.float32)
INITIAL = np.array([[[0.5, 0.0, -0.5]]], np.float32)


def expected(x: Array, h: Array | None = None) -> tuple[Array, Array]:
    """Return output `(batch, sequence, 3)` and state `(1, batch, 3)` of `features`."""
    start = np.broadcast_to(INITIAL if h is None else h, (1, len(x), 3))[0]
    rows, final = rnn(np.moveaxis(x, 1, 0), start, W, R)
    return np.moveaxis(rows, 0, 1), final[None]


def features(
    path: Path,
    carry: bool = True,
    graphs: tuple[str, ...] = ("sequence", "step"),
    steps: int | None = None,
    sample_rate: float | None = None,
) -> Path:
    """Write a batch-first model of 2 features with a learned initial state of 3.

    Its sequence graph takes any number of steps, or `steps` only.
    """
    axis, axes = steps or "sequence", ("batch", "sequence", None)
    h_in = Port("h_in", "float32", (1, "batch", 3))
    h_out = Port("h_out", "float32", (1, "batch", 3))
    every = {
        "sequence": Graph(
            (Port("x", "float32", ("batch", axis, 2), "x").with_axes(axes), h_in),
            (Port("output", "float32", ("batch", axis, 3), "[0]").with_axes(axes), h_out),
        ),
        "step": Graph(
            (Port("x", "float32", ("batch", 2), "x"), h_in),
            (Port("output", "float32", ("batch", 3), "[0]"), h_out),
        ),
    }
    contract = Contract(
        FAMILY,
        "RNN(2, 3)",
        (State("h", "h_in", "h_out", INITIAL),),
        carry,
        {kind: every[kind] for kind in graphs},
        parity=str(PARITY),
        sample_rate=sample_rate,
    )
    models = {
        "sequence": model(
            """
            features (float[batch, sequence, 2] x, float[1, batch, 3] h_in)
                => (float[batch, sequence, 3] output, float[1, batch, 3] h_out) {
                t = Transpose <perm = [1, 0, 2]> (x)
                y, h_out = RNN <hidden_size = 3> (t, W, R, B, , h_in)
                s = Squeeze(y, one)
                output = Transpose <perm = [1, 0, 2]> (s)
            }""".replace("sequence", str(axis)),
            W=W[None],
            R=R[None],
            B=np.zeros((1, 6), np.float32),
            one=np.array([1]),
        ),
        "step": model(
            """
            features (float[batch, 2] x, float[1, batch, 3] h_in)
                => (float[batch, 3] output, float[1, batch, 3] h_out) {
                h = Squeeze(h_in, zero)
                a = MatMul(x, W)
                b = MatMul(h, R)
                c = Add(a, b)
                output = Tanh(c)
                h_out = Unsqueeze(output, zero)
            }""",
            W=np.ascontiguousarray(W.T),
            R=np.ascontiguousarray(R.T),
            zero=np.array([0]),
        ),
    }
    total = 7 if steps is None else steps * (1 + carry)
    x = np.linspace(-1, 1, 2 * total * 2, dtype=np.float32).reshape(2, total, 2)
    output, final = expected(x)
    golden = {"x": x, "h_in": np.repeat(INITIAL, 2, 1), "output": output, "h_out": final}
    if "sequence" not in graphs:
        golden |= {name: np.moveaxis(golden[name], 1, 0) for name in ("x", "output")}
    return write(path, contract, {kind: models[kind] for kind in graphs}, golden)


def pair(path: Path) -> Path:
    """Write a time-major model of two inputs and two outputs, a running sum of `a · b`."""
    s_in, s_out = Port("s_in", "float32", ("batch", 1)), Port("s_out", "float32", ("batch", 1))
    ports = [Port(name, "float32", ("batch", 1), name) for name in ("a", "b")]
    outputs = [Port(name, "float32", ("batch", 1), name) for name in ("total", "product")]
    contract = Contract(
        FAMILY,
        "Sum",
        (State("s", "s_in", "s_out"),),
        True,
        {"step": Graph((*ports, s_in), (*outputs, s_out))},
    )
    step = model(
        """
        pair (float[batch, 1] a, float[batch, 1] b, float[batch, 1] s_in)
            => (float[batch, 1] total, float[batch, 1] product, float[batch, 1] s_out) {
            product = Mul(a, b)
            s_out = Add(product, s_in)
            total = Identity(s_out)
        }"""
    )
    a = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    product = a * a
    total = np.cumsum(product, 0)
    golden = {"a": a, "b": a, "s_in": a[0], "total": total, "product": product, "s_out": total[-1]}
    return write(path, contract, {"step": step}, golden)


def ending(path: Path) -> Path:
    """Write a running sum over sequences that end at `lengths`, zero after that, and its last."""
    s_in, s_out = Port("s_in", "float32", ("batch", 1)), Port("s_out", "float32", ("batch", 1))
    last = Port("last", "float32", ("batch", 1), "[1]")
    contract = Contract(
        FAMILY,
        "Sum",
        (State("s", "s_in", "s_out"),),
        True,
        {
            "sequence": Graph(
                (
                    Port("x", "float32", ("batch", "sequence", 1), "x"),
                    Port("lengths", "int64", ("batch",), "lengths"),
                    s_in,
                ),
                (Port("total", "float32", ("batch", "sequence", 1), "[0]"), last, s_out),
            ),
            "step": Graph(
                (Port("x", "float32", ("batch", 1), "x"), s_in),
                (Port("total", "float32", ("batch", 1), "[0]"), last, s_out),
            ),
        },
        lengths=("lengths",),
    )
    zero, one, two = (np.array(number) for number in range(3))
    sequence = model(
        """
        ending (float[batch, sequence, 1] x, int64[batch] lengths, float[batch, 1] s_in)
            => (float[batch, sequence, 1] total, float[batch, 1] last, float[batch, 1] s_out) {
            shape = Shape(x)
            steps = Gather(shape, one)
            place = Range(zero, steps, one)
            ends = Unsqueeze(lengths, axes)
            within = Less(place, ends)
            kept = Unsqueeze(within, axes_2)
            ones = Cast <to = 1> (kept)
            present = Mul(x, ones)
            start = Unsqueeze(s_in, axes)
            sums = CumSum(present, one)
            after = Add(sums, start)
            total = Mul(after, ones)
            whole = ReduceSum <keepdims = 0> (present, axes)
            s_out = Add(whole, s_in)
            last = Identity(s_out)
        }""",
        zero=zero,
        one=one,
        axes=one[None],
        axes_2=two[None],
    )
    step = model(
        """
        ending (float[batch, 1] x, float[batch, 1] s_in)
            => (float[batch, 1] total, float[batch, 1] last, float[batch, 1] s_out) {
            s_out = Add(x, s_in)
            total = Identity(s_out)
            last = Identity(s_out)
        }"""
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    golden = {
        "x": x,
        "lengths": np.array([3, 2]),
        "s_in": np.ones((2, 1), np.float32),
        "total": np.array([[[1], [2], [4]], [[4], [8], [0]]], np.float32),
        "last": np.array([[4], [8]], np.float32),
        "s_out": np.array([[4], [8]], np.float32),
    }
    return write(path, contract, {"sequence": sequence, "step": step}, golden)
