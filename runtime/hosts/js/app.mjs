/**
 * Run the model in Node.
 *
 *     node app.mjs         replay the golden run, and time a step
 *     node app.mjs step    read numbers from standard input, one step (or hop) a line
 *
 * Exit status: 0; 1 where the golden run differs; 2 at a line that is not one step.
 */
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { EdgernnError, numbers, open } from "./edgernn.mjs";

const TOLERANCE = 1e-5; // edgernn embed: tolerance

const model = await open(ort, fileURLToPath(new URL("model.edgernn", import.meta.url)));
const ports = model.inputs("step").filter((port) => !port.isState);
const sizes = ports.map(({ shape }) => shape.reduce((all, size) => all * (size > 0 ? size : 1), 1));
const total = sizes.reduce((sum, size) => sum + size, 0); // the numbers of a line
const batches = model.inputs("step").map(({ shape, axes }) => shape[axes.indexOf("batch")]);
const batch = batches.find((size) => size > 0) ?? 1; // a constant one, or one sequence

/** Return the inputs of a step from the numbers of a line: those of each port after one another. */
function inputsOf(values) {
  let start = 0;
  return Object.fromEntries(ports.map(({ name }, i) => [name, values.slice(start, start += sizes[i])]));
}

/** Print how far each way of running is from the golden run; return whether all are as they must be. */
async function check() {
  const { whole, chunks, steps, withoutState } = await model.check();
  let agrees = true;
  for (const [way, difference, limit, mustAgree] of [
    ["whole", whole, TOLERANCE, true], ["by chunks", chunks, TOLERANCE, true],
    ["by steps", steps, TOLERANCE, true],
    ["without state", withoutState, Number.isNaN(steps) ? chunks : steps, false],
  ]) {
    if (Number.isNaN(difference)) continue; // the model cannot be run in this way
    const right = difference <= limit === mustAgree;
    agrees &&= right;
    console.log(`${way.padEnd(14)} max difference ${difference.toExponential(1)}${right ? "" : ", WRONG"}`);
  }
  const verdict = agrees ? "reproduces" : "DIFFERS from";
  console.log(`The model ${verdict} its golden run; the tolerance is ${TOLERANCE.toExponential()}.`);
  return agrees;
}

/** Print the median time of a step. */
async function time() {
  const stream = model.stream(batch), times = [], inputs = inputsOf(new Array(total).fill(0));
  for (const { name, dtype } of ports) if (dtype === "float32") inputs[name] = Float32Array.from(inputs[name]);
  for (let i = 0; i < 3000; i++) {
    const start = performance.now();
    await stream.step(inputs);
    times.push(performance.now() - start);
    if (i % 10 === 9) stream.reset(); // a model may have a limit of steps
  }
  times.sort((a, b) => a - b);
  console.log(`${"time".padEnd(14)} ${(times[1500] * 1000).toFixed(1)} µs per step`);
}

/** Answer each line of standard input with a line of the outputs; an empty line starts anew. */
async function step() {
  if (!ports.length) {
    throw new EdgernnError("input", `This model has no step graph. Call stream.${model.carries ? "feed" : "run"} with `
      + "more than a step.");
  }
  const stream = model.stream(batch), unit = model.hop > 1 ? "hop" : "step";
  let count = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    count += 1;
    const words = line.trim().split(/[\s,]+/).filter(Boolean);
    if (!words.length) {
      stream.reset();
      console.log("");
      continue;
    }
    const values = words.map(Number);
    if (values.length !== total || !values.every(Number.isFinite)) {
      throw new EdgernnError("input", `Line ${count} is \`${line}\`; a ${unit} takes ${total} numbers, separated by `
        + "commas or white space.");
    }
    const outputs = await stream.step(inputsOf(values)).catch((error) => {
      throw error instanceof EdgernnError ? new EdgernnError(error.kind, `Line ${count}: ${error.message}`) : error;
    });
    const written = Object.values(outputs).map((tensor) =>
      tensor ? Array.from(numbers(tensor), (x) => typeof x === "number" ? Number(x.toPrecision(9)) : x) : "");
    console.log(written.join(","));
  }
}

try {
  if (process.argv.length > 3 || ![undefined, "step"].includes(process.argv[2])) {
    throw new EdgernnError("input", "usage: node app.mjs [step]");
  }
  if (process.argv[2] === "step") await step();
  else if (!await check()) process.exitCode = 1;
  else if (ports.length && model.carries) await time();
} catch (error) {
  console.error(error instanceof EdgernnError ? error.message : error);
  process.exitCode = 2;
}
