"""The types of the JavaScript host, which TypeScript checks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hosts.host_drivers import ROOT, node_modules

TYPED = """
import * as ort from "onnxruntime-node";
import { EdgernnError, numbers, open } from "edgernn";
import type { Differences, Model, Outputs, Stream, Tensor } from "edgernn";

const options = { provider: "cpu", threads: 2 };
const model: Model = await open(ort, new URL("file:///model.edgernn"), options);
await open(ort, { step: new Uint8Array(1), contract: {} });
const stream: Stream = model.stream(2);
const inputs = { x: new Float32Array(3), ids: [1n, 2n], mask: [[true]] };
const outputs: Outputs = await stream.step(inputs);
await stream.feed(new ort.Tensor("float32", new Float32Array(3), [1, 1, 3]));
const output: Tensor | null = outputs["output"] ?? null;
const first: number | bigint | undefined = output ? numbers(output)[0] : undefined;
const { whole }: Differences = await model.check();
stream.restore(stream.snapshot());
stream.setState("h_in", stream.state("h_in"));
const hop: number = model.hop + whole, rate: string | null = model.metadata("sample_rate");
try { model.encode("a"); } catch (error) {
  if (error instanceof EdgernnError && error.kind === "input") console.log(hop, rate, first);
}
// @ts-expect-error a stream is opened by a model
new Stream();
// @ts-expect-error text is no input
await stream.step({ x: "1" });
// @ts-expect-error the batch is a number
model.stream("2");
// @ts-expect-error outputs are promised
const wrong: Outputs = stream.step({ x: [1] });
"""


def test_types(tmp_path: Path) -> None:
    """TypeScript takes programs that use the module, and refuses wrong ones."""
    modules = node_modules()
    if not (modules / "typescript").is_dir():
        pytest.skip(f"there is no typescript in `{modules}`; scripts/hosts installs it")
    links = tmp_path / "node_modules"
    links.mkdir()
    for package in modules.iterdir():
        (links / package.name).symlink_to(package)
    (links / "edgernn").symlink_to(ROOT / "js")
    (tmp_path / "program.mts").write_text(TYPED, "utf-8")
    options = (
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--module",
        "nodenext",
        "--target",
        "es2022",
    )
    compiler = modules / "typescript" / "bin" / "tsc"
    ran = subprocess.run(
        ["node", compiler, *options, "program.mts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "")
