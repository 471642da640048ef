"""The JavaScript host in Node: what the tests of every host do not ask of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import edgernn
from tests.conftest import Once
from tests.docs.page_blocks import page_blocks
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import ROOT, node_modules

MODULE = ROOT / "js" / "edgernn.mjs"

START = """
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [module, modules, folder] = process.argv.slice(1);
const { open, numbers, EdgernnError } = await import(pathToFileURL(module));
const ort = createRequire(`${modules}/`)("onnxruntime-node");
const caught = async (call) => {
  try {
    await call();
    return "nothing was thrown";
  } catch (error) {
    if (!(error instanceof EdgernnError)) throw error;
    return `${error.kind}: ${error.message}`;
  }
};
const answer = (value) => console.log(JSON.stringify(value));
const bytes = (name) => new Uint8Array(readFileSync(`${folder}/${name}`));
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def gru(once: Once) -> Path:
    """Two layers of a GRU, 3 inputs, 5 outputs."""
    folder = once("host-artifact-two_layer_gru", lambda at: write_artifact("two_layer_gru", at))
    return folder / "model.edgernn"


@pytest.fixture(scope="module")
def characters(once: Once) -> Path:
    """Scores of symbols for ids."""
    folder = once("host-artifact-characters", lambda at: write_artifact("characters", at))
    return folder / "model.edgernn"


@pytest.fixture(scope="module")
def half(once: Once) -> Path:
    """A layer in float16 that takes lengths."""

    def export(folder: Path) -> None:
        torch.manual_seed(0)
        layer = torch.nn.LSTM(3, 4)
        path = folder / "model.edgernn"
        edgernn.export_model(layer, path, precision="float16", lengths=True)

    return once("host-artifact-half", export) / "model.edgernn"


@pytest.fixture(scope="module")
def run() -> Run:
    """Run lines of JavaScript with an artifact, and return what they answer."""
    modules = node_modules()
    if not shutil.which("node"):
        pytest.skip("there is no `node` here; scripts/hosts installs it")

    def in_node(artifact: Path, code: str) -> Any:
        command = ["node", "--input-type=module", "-e", START + code]
        ran = subprocess.run(
            [*map(str, command), str(MODULE), str(modules), str(artifact)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
        return json.loads(ran.stdout)

    return in_node


def test_one_call_at_a_time(run: Run, gru: Path) -> None:
    """A call before the last has ended is refused and changes nothing; others run beside it."""
    found = run(
        gru,
        """
        const model = await open(ort, folder), x = [0.1, 0.2, 0.3];
        const [stream, other] = [model.stream(), model.stream()];
        const [first, both] = [stream.step({ input: x }), other.step({ input: x })];
        const calls = { step: () => stream.step({ input: x }),
          feed: () => stream.feed({ input: x }), run: () => stream.run({ input: x }),
          finish: () => stream.finish(),
          reset: () => stream.reset(), snapshot: () => stream.snapshot(),
          state: () => stream.state("h_in"), restore: () => stream.restore(new Uint8Array(20)) };
        const messages = await Promise.all(Object.values(calls).map(caught));
        answer({ messages: [...new Set(messages)], steps: stream.steps,
          same: String((await first).output.data) === String((await both).output.data),
          then: (await stream.step({ input: x })).output.dims, after: stream.steps });
        """,
    )
    assert found == {
        "messages": [
            "input: A call of this stream has not ended yet. Await it before the next, or open "
            "another stream."
        ],
        "steps": 0,
        "same": True,
        "then": [1, 5],
        "after": 2,
    }


def test_arrays_belong_to_the_caller(run: Run, gru: Path) -> None:
    """Inputs may change once a call was made, and outputs never do."""
    found = run(
        gru,
        """
        const model = await open(ort, folder), stream = model.stream(), outputs = [];
        const x = new Float32Array([0.1, 0.2, 0.3]);
        for (const way of ["step", "step", "feed"]) {
          x.set([0.1, 0.2, 0.3]);
          const call = stream[way]({ input: x });
          x.fill(100);
          outputs.push((await call).output.data);
        }
        const state = stream.state("h_in");
        state.data.fill(100);
        stream.reset();
        const again = [];
        for (const way of ["step", "step", "feed"]) {
          again.push((await stream[way]({ input: [0.1, 0.2, 0.3] })).output.data);
        }
        answer([String(outputs), String(again)]);
        """,
    )
    assert found[0] == found[1]


def test_forms_of_inputs(run: Run, gru: Path, characters: Path) -> None:
    """Typed arrays, numbers, nested arrays, tensors, and an only input alone are the same."""
    found = run(
        gru,
        """
        const model = await open(ort, folder), stream = model.stream(2), all = [];
        const values = [0.5, 1, -2, 0.25, 0, 3], data = Float32Array.from(values);
        const forms = [{ input: data }, { input: values }, { input: [[0.5, 1, -2], [0.25, 0, 3]] },
          { input: { data, dims: [2, 3] } }, { input: new ort.Tensor("float32", data, [2, 3]) },
          { input: { data: values, dims: [2, 3] } }, data, values, new ort.Tensor(data, [2, 3])];
        for (const form of forms) {
          stream.reset();
          all.push(String((await stream.step(form)).output.data));
        }
        answer(new Set(all).size);
        """,
    )
    assert found == 1
    found = run(
        characters,
        """
        const model = await open(ort, folder), stream = model.stream(), all = [];
        for (const form of [3, 3n, [3], [3n], BigInt64Array.of(3n), { tokens: 3 }]) {
          stream.reset();
          all.push(String(Object.values(await stream.step(form))[0].data));
        }
        answer(new Set(all).size);
        """,
    )
    assert found == 1


REFUSED = {
    "stream.step({ input: new Float64Array(3) })": (
        "input: `input: float32[batch, 3]` came as float64. Give it as float32."
    ),
    "stream.step({ input: new ort.Tensor('int64', new BigInt64Array(3), [1, 3]) })": (
        "input: `input: float32[batch, 3]` came as int64. Give it as float32."
    ),
    "stream.step({ input: [1, '2', 3] })": (
        'input: `input: float32[batch, 3]` came with "2". Give numbers of float32.'
    ),
    "stream.step({ input: [1, 1e39, 3] })": (
        "input: `input: float32[batch, 3]` came with 1e+39. Give numbers of float32."
    ),
    "stream.step({ input: null })": (
        "input: `input: float32[batch, 3]` came as null. Give a typed array, or numbers in "
        "an array."
    ),
    "stream.step({ input: [1, 2] })": (
        "input: `input: float32[batch, 3]` came with 2 numbers; it takes 3, shape [1, 3]."
    ),
    "stream.feed({ input: [1, 2] })": (
        "input: `input: float32[batch, sequence, 3]` came with 2 numbers, which is no multiple "
        "of 3."
    ),
    "stream.feed({ input: [[1, 2, 3]] })": (
        "input: `input: float32[batch, sequence, 3]` came with shape [1, 3]: it must have 3 axes, "
        "not 2. Give its shape."
    ),
    "stream.step({ input: [[1, 2, 3], [4, 5, 6]] })": (
        "input: `input: float32[batch, 3]` came with shape [2, 3]: axis 0 must be 1, the `batch` "
        "of this stream, not 2. Give that many."
    ),
    "stream.feed({ input: [[[1, 2], [3], [4, 5, 6]]] })": (
        "input: `input: float32[batch, sequence, 3]` came in rows of different lengths. Give rows "
        "of one length."
    ),
    "stream.step({ data: [1, 2, 3] })": (
        "input: `data` is not an input of the step graph, which takes `input: float32[batch, 3]`. "
        "Give these."
    ),
    "stream.step()": (
        "input: `input` is missing: the step graph takes `input: float32[batch, 3]`. Give all."
    ),
    "stream.setState('h_in', new Float32Array(3))": (
        "state: State `h_in` must have shape [2, 1, 5] for batch 1; it came with shape [3]. Give "
        "that shape."
    ),
    "stream.restore(new Uint8Array(5))": (
        "state: The snapshot does not fit: it is too short. Restore what snapshot() returned for a "
        "stream of this artifact and batch."
    ),
    "model.stream(1.5)": (
        "input: `batch` is 1.5; a stream runs at least 1 sequence. Give 1 or more."
    ),
    "model.stream(2 ** 40)": (
        "memory: There is no memory for this call. Free some, or take a smaller batch or chunk."
    ),
    "model.encode('a')": (
        "input: The model has no vocabulary. Export it with `--vocabulary`, or feed ids."
    ),
    "open(ort, 5)": (
        "input: Give the folder of an artifact, or { sequence, step } with their bytes."
    ),
    "open(ort, {})": (
        "contract: There is no graph. Give the bytes of sequence.onnx, of step.onnx or of both."
    ),
    "(await open(ort, { step: bytes('step.onnx') })).check()": (
        "input: There is no golden run beside the model. Give the folder that has it."
    ),
}


def test_messages(run: Run, gru: Path) -> None:
    """Each wrong call is answered by one sentence, and changes nothing."""
    calls = ", ".join(f"async () => {call}" for call in REFUSED)
    *found, unchanged = run(
        gru,
        f"""
        const model = await open(ort, folder), stream = model.stream(), found = [];
        await stream.step([1, 2, 3]);
        const before = String(stream.snapshot());
        for (const call of [{calls}]) found.push(await caught(call));
        answer([...found, String(stream.snapshot()) === before]);
        """,
    )
    assert dict(zip(REFUSED, found, strict=True)) == REFUSED
    assert unchanged


def test_sources(run: Run, gru: Path) -> None:
    """A path, a file URL, bytes with or without contract.json, and one graph alone."""
    found = run(
        gru,
        """
        const both = { sequence: bytes("sequence.onnx"), step: bytes("step.onnx") };
        const contract = bytes("contract.json");
        const parsed = JSON.parse(new TextDecoder().decode(contract));
        const sources = [folder, `${folder}/`, pathToFileURL(folder), String(pathToFileURL(folder)),
          both, { ...both, contract }, { ...both, contract: parsed },
          `${folder}/sequence.onnx`, pathToFileURL(`${folder}/sequence.onnx`)];
        const found = [];
        for (const source of sources) {
          const model = await open(ort, source);
          const { whole, chunks, steps } = await model.check(`${folder}/golden`);
          found.push(["sequence", "step"].filter((graph) => model.inputs(graph).length).join()
            + [whole, chunks, steps].map((one) => one < 1e-6 ? " yes" : ` ${one}`).join(""));
          await model.close();
        }
        for (const source of [`${folder}/step.onnx`, { step: both.step.buffer }]) {
          const model = await open(ort, source), { output } = await model.stream().step([1, 2, 3]);
          found.push(output.dims.join());
          found.push(await caught(() => model.check(`${folder}/golden`)));
        }
        answer(found);
        """,
    )
    refused = (
        "contract: `h_in.npy` has the shape [2, 2, 5], which is not `h_in: float32[2, batch, 5]`. "
        "Give the golden run of this model, and the whole artifact."
    )
    assert found == [
        *["sequence,step yes yes yes"] * 7,
        *["sequence yes yes yes"] * 2,
        *("1,5", refused) * 2,
    ]


def test_changed_files_are_refused(run: Run, gru: Path, characters: Path, tmp_path: Path) -> None:
    """Graphs are compared with the digests and the family in contract.json."""
    artifact = shutil.copytree(gru, tmp_path / "model.edgernn")
    code = "answer(await caught(() => open(ort, folder)));"
    file = artifact / "step.onnx"
    graph = onnx.load(str(file))
    weights = next(one for one in graph.graph.initializer if len(one.raw_data) > 8)
    weights.raw_data = weights.raw_data[4:] + weights.raw_data[:4]
    onnx.save(graph, str(file))
    wanted = json.loads((artifact / "contract.json").read_text("utf-8"))["sha256"]["step.onnx"]
    message = run(artifact, code)
    assert message.startswith(f"contract: `{file}` was changed after the export: its SHA-256 is ")
    assert message.endswith(f"…, the contract has {wanted[:12]}…. Export the model again.")
    shutil.copy(characters / "step.onnx", file)
    family, other = (
        json.loads((one / "contract.json").read_text("utf-8"))["family"]
        for one in (gru, characters)
    )
    assert run(artifact, code) == (
        f"contract: `{file}` is of family {other}, `{artifact / 'sequence.onnx'}` of {family}. "
        "Graphs of two exports must not be mixed; copy the whole folder."
    )
    shutil.copy(gru / "step.onnx", file)
    shutil.copy(characters / "contract.json", artifact / "contract.json")
    assert run(artifact, code) == (
        f"contract: `{artifact / 'sequence.onnx'}` is of family {family}, `contract.json` of "
        f"{other}. Graphs of two exports must not be mixed; copy the whole folder."
    )
    (artifact / "contract.json").write_text('{"contract": "2"}', "utf-8")
    assert run(artifact, code) == (
        "contract: `contract.json` is of contract version 2; this edgernn reads version 1. Export "
        "the model again."
    )


def test_weights_beside_a_graph(run: Run, gru: Path, tmp_path: Path) -> None:
    """A file of weights is read with the graph, and compared with its digest."""
    artifact = shutil.copytree(gru, tmp_path / "model.edgernn")
    file, weights = artifact / "step.onnx", artifact / "weights.bin"
    graph = onnx.load(str(file))
    file.unlink()
    onnx.save(
        graph, str(file), save_as_external_data=True, location=weights.name, size_threshold=100
    )
    contract = json.loads((artifact / "contract.json").read_text("utf-8"))
    for one in (file, weights):
        contract["sha256"][one.name] = hashlib.sha256(one.read_bytes()).hexdigest()
    (artifact / "contract.json").write_text(json.dumps(contract), "utf-8")
    code = "const { steps } = await (await open(ort, folder)).check(); answer(steps < 1e-6);"
    assert run(artifact, code) is True
    weights.unlink()
    assert run(artifact, "answer(await caught(() => open(ort, folder)));") == (
        "contract: `contract.json` names `weights.bin`, which is missing. Export the model again."
    )


def test_float16(run: Run, half: Path) -> None:
    """Numbers become float16, nearest to even, and outputs are numbers again."""
    model = edgernn.load(half, forms=False)
    x = np.random.default_rng(0).normal(size=(6, 2, 3))
    x.flat[:6] = [65504, 6e-8, 2049 / 2048, 2051 / 2048, 0.1, -0.0]
    expected = model.run({"input": x.astype("f2")})
    found = run(
        half,
        f"""
        const model = await open(ort, folder), stream = model.stream(2);
        const {{ output }} = await stream.feed({{ input: {x.tolist()} }});
        answer({{ type: output.type, dims: output.dims, data: [...numbers(output)],
          c: [...numbers(stream.state("c_in"))],
          lengths: await caught(() => stream.run({{ input: {x.tolist()}, lengths: [7, 1] }})) }});
        """,
    )
    output = expected.outputs["output"]
    assert (found["type"], found["dims"]) == ("float16", list(output.shape))
    np.testing.assert_allclose(found["data"], output.ravel().astype(float), rtol=0, atol=2e-3)
    np.testing.assert_allclose(found["c"], expected.state["c"].ravel().astype(float), atol=5e-3)
    assert found["lengths"] == (
        "input: `lengths: int64[batch]` has length 7 at 0; sequences of this call have 1 to 6 "
        "steps. Give such lengths."
    )


def test_a_failure_of_onnx_runtime(run: Run, gru: Path) -> None:
    """What ONNX Runtime cannot run is an error of kind provider, and changes nothing."""
    found = run(
        gru,
        """
        const model = await open(ort, folder), stream = model.stream();
        await stream.step([1, 2, 3]);
        await stream.step([1, 2, 3]);
        const before = String(stream.snapshot());
        await model.close();
        await model.close();
        answer([await caught(() => stream.step([1, 2, 3])),
          await caught(() => stream.step(Float32Array.of(1, 2, 3))),
          String(stream.snapshot()) === before, stream.steps]);
        """,
    )
    message = "provider: ONNX Runtime failed in the step graph: Session already disposed."
    assert found == [message, message, True, 2]


def test_a_silent_cpu_is_refused(run: Run, gru: Path) -> None:
    """A graph whose recurrence WebGPU leaves to the CPU is not opened there."""
    found = run(
        gru,
        """
        const session = { run: async () => ({}), release: async () => {} };
        const runtime = { ...ort, listSupportedBackends: () => [{ name: "webgpu" }],
          InferenceSession: { create: async () => session } };
        const sequence = bytes("sequence.onnx"), options = { provider: "webgpu" };
        const opened = (await open(runtime, { sequence }, options)).provider;
        const place = new TextDecoder("latin1").decode(sequence).indexOf("GRU");
        sequence.set(new TextEncoder().encode("RNN"), place);
        sequence.set(new TextEncoder().encode("RNN"),
          new TextDecoder("latin1").decode(sequence).indexOf("GRU"));
        answer([opened, await caught(() => open(runtime, { sequence }, options)),
          await caught(() => open(runtime, { sequence }))]);
        """,
    )
    assert found == [
        "webgpu",
        "provider: The sequence graph has the operator RNN, which provider `webgpu` leaves to the "
        "CPU. Open it with provider `cpu`, or its step graph alone.",
        "provider: `cpu` does not run here: this ONNX Runtime has webgpu. Give one of them, or a "
        "build that has it.",
    ]


def test_damaged_graphs(run: Run, gru: Path) -> None:
    """Graphs with bytes changed or cut are opened, or refused with an error of a kind."""
    found = run(
        gru,
        """
        let seed = 1;
        const draw = (most) => {
          seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
          return Math.floor((seed / 2 ** 32) * most);
        };
        const graph = { run: async () => ({}), release: async () => {} };
        const reader = { ...ort, InferenceSession: { create: async () => graph } };
        const whole = bytes("step.onnx"), sequence = bytes("sequence.onnx"), kinds = {};
        for (let i = 0; i < 400; i++) {
          const step = whole.slice(0, draw(4) ? whole.length : draw(whole.length));
          const start = Math.max(0, step.length - 2000);
          for (let j = draw(4); j >= 0; j--) {
            step[start + draw(step.length - start)] ^= 1 << draw(8);
          }
          const opened = async () => (await open(reader, { sequence, step })).stream(1);
          const [kind] = (await caught(opened)).split(":");
          kinds[kind] = (kinds[kind] ?? 0) + 1;
        }
        answer(kinds);
        """,
    )
    assert set(found) <= {"nothing was thrown", "contract", "input", "memory"}
    assert found["contract"] > 200
    assert sum(found.values()) == 400


def test_the_program_of_the_readme(run: Run, gru: Path, tmp_path: Path) -> None:
    """The page's program runs as it is shown."""
    program = page_blocks(ROOT / "js" / "README.md")[0]
    shutil.copytree(gru, tmp_path / "model.edgernn")
    shutil.copy(MODULE, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules())
    shown = "\nconsole.log(output.dims, chunk.output.dims, saved.length > 80, stream.steps);\n"
    (tmp_path / "program.mjs").write_text(program.text + shown, "utf-8")
    ran = subprocess.run(
        ["node", "program.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[ 1, 5 ] [ 1, 5, 5 ] true 0\n", "")
