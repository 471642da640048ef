// The page: it opens the model, and connects input, runner, plots, pictures and self-check.

import * as ort from "onnxruntime-web";
import { numbers, open } from "edgernn";

import { layersText, prepareCheck, setLight, showCheck, showContract } from "page/contract_view.mjs";
import { MOST_LINES } from "page/line_plot.mjs";
import { ModelCall, recording } from "page/model_call.mjs";
import { isInside, readContract, readFile, readModelFile } from "page/model_files.mjs";
import { NumberInput } from "page/number_input.mjs";
import { Runner } from "page/runner.mjs";
import { TextInput } from "page/text_input.mjs";
import { InputView, OutputView, StateView } from "page/views.mjs";

const element = (id) => document.getElementById(id);
const LIGHT = { light: element("light"), title: element("light_title"), text: element("light_text") };

const WASM = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";
const TOLERANCE = 1e-5; // edgernn embed: tolerance

const isWeights = (file) => !/\.onnx$|\//.test(file);

/** Read the graphs, their weights and the recorded run of the artifact. */
async function readArtifact(contract) {
  const graphs = {};
  for (const [kind, { file }] of Object.entries(contract.graphs)) graphs[kind] = await readModelFile(file);
  const weights = {};
  for (const file of Object.keys(contract.sha256).filter(isWeights)) weights[file] = await readModelFile(file);
  const golden = {};
  const kind = contract.graphs.sequence ? "sequence" : "step";
  for (const { name } of [...contract.graphs[kind].inputs, ...contract.graphs[kind].outputs]) {
    golden[name] = await readModelFile(`golden/${name}.npy`);
  }
  return { graphs, weights, golden, kind };
}

/** Return a function that runs a step of a stream: from at(port, step, column) to the outputs. */
function stepper(call, stream) {
  return async (at) => {
    const steps = at.steps ?? call.steps;
    const inputs = call.pack(at, steps).map(({ name, data, shape }) => [name, { data, dims: shape }]);
    const outputs = await stream[call.method](Object.fromEntries(inputs));
    return Object.fromEntries(call.outputs
      .filter(({ name }) => outputs[name])
      .map((port) => [port.name, call.unpack(port, { data: numbers(outputs[port.name]), dims: [...outputs[port.name].dims] })]));
  };
}

/** Return the name of the output with one score for each next symbol, or null. */
function scoresOf(contract, call) {
  const size = contract.vocabulary?.symbols.length;
  const found = call.outputs.filter(({ shape }) => shape.at(-1) === size);
  return found.length === 1 && !call.isWhole ? found[0].name : null;
}

function speedsOf(contract) {
  const speeds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
  const rate = contract.sample_rate ? contract.sample_rate / (contract.hop ?? 1) : null;
  const isNear = rate && speeds.includes(rate);
  const all = [...speeds, ...(rate && !isNear ? [rate] : []), Infinity].sort((a, b) => a - b);
  const text = (speed) => (speed === Infinity ? "as fast as it can" : `${Number(speed.toPrecision(3))} a second${speed === rate ? ", real time" : ""}`);
  return { all, text, start: all.indexOf(rate ?? (contract.vocabulary ? 50 : 20)) };
}

function connectControls({ runner, source, speeds, reset }) {
  const [run, speed] = [element("run"), element("speed")];
  const say = (text) => (element("status").textContent = text);
  const show = () => {
    run.textContent = runner.running ? "Pause" : "Run";
    Promise.resolve(source.listen?.(runner.running)).catch((error) => runner.onEnd(error));
  };
  const setRunning = (running) => {
    if (running && source.ended) reset();
    runner.running = running;
    source.say("");
    show();
    if (!running) say(`Paused after ${runner.steps} steps. ${source.summary()}`);
  };
  run.addEventListener("click", () => setRunning(!runner.running));
  element("step").addEventListener("click", () => {
    if (runner.running) setRunning(false);
    runner.singles += 1;
  });
  element("reset").addEventListener("click", () => {
    reset();
    say("The state is at its start again.");
  });
  const setSpeed = () => {
    runner.speed = speeds.all[speed.value];
    element("speed_text").textContent = speeds.text(runner.speed);
    speed.setAttribute("aria-valuetext", speeds.text(runner.speed));
  };
  Object.assign(speed, { max: speeds.all.length - 1, value: speeds.start });
  speed.addEventListener("input", setSpeed);
  setSpeed();
  runner.onEnd = (error) => {
    runner.running = false;
    show();
    if (error) source.say(error.message);
    else say(`The input has ended after ${runner.steps} steps. ${source.summary()}`);
  };
  for (const id of ["run", "step", "reset", "speed"]) element(id).disabled = false;
  return setRunning;
}

async function check(model, golden) {
  setLight(LIGHT, "waiting", "is running");
  const differences = await model.check(golden);
  showCheck(differences, TOLERANCE, { ...LIGHT, body: element("ways") });
}

/** Show what the model is called and made of. */
function showHeading(contract) {
  const [, title, rest] = /^(?:nn\.Module )?(.*), (torch .*)$/.exec(contract.source) ?? [null, contract.source, ""];
  document.title = `${title} · edgernn`;
  element("name").textContent = title;
  element("name").classList.toggle("long", title.length > 32);
  element("source").textContent = [layersText(contract.layers), rest].filter(Boolean).join(" · ");
}

/** Return the input that fits a model: a text where it has a vocabulary, else numbers or sound. */
function makeSource(contract, { model, call, recorded, reset, setRunning }) {
  const parent = element("input");
  const rate = contract.sample_rate ?? null;
  if (!contract.vocabulary || call.inputs.length > 1 || call.inputs[0].width > 1) {
    return new NumberInput(parent, { call, recorded, rate, onChange: () => setRunning(false) });
  }
  const { symbols } = contract.vocabulary;
  return new TextInput(parent, { model, symbols, scores: scoresOf(contract, call), onReset: reset, onRun: () => setRunning(true) });
}

function makeViews(contract, { call, stream, source }) {
  const isText = source instanceof TextInput;
  const plotted = isText ? [] : call.inputs.filter(({ width }) => width <= MOST_LINES);
  const ranges = Object.fromEntries(plotted.map((port) => [port.name, source.rangeOf(port).slice(0, 2)]));
  return [
    new InputView(element("input"), plotted, { ranges, fits: call.isWhole }),
    new OutputView(element("output"), call, { text: isText && source.scores ? source : null, rate: source.soundRate ?? null }),
    new StateView(element("state"), contract, stream),
  ];
}

function makeRunner({ call, stream, source, views }) {
  let isDrawn = false;
  const redraw = () => (isDrawn = false);
  new ResizeObserver(redraw).observe(document.querySelector("main"));
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) {
    matchMedia(query).addEventListener("change", redraw);
  }
  return new Runner({
    source,
    take: () => (call.isWhole ? source.takeAll() : source.take(call.steps)),
    run: stepper(call, stream),
    onStep(outputs, at) {
      if (call.isWhole) views.forEach((view) => view.clear());
      views.forEach((view) => view.push(outputs, at));
      redraw();
    },
    onFrame(runner) {
      element("rate").textContent = Math.round(runner.rate).toLocaleString("en");
      if (isDrawn) return;
      isDrawn = true;
      element("steps").textContent = runner.steps.toLocaleString("en");
      [...views, source].forEach((view) => view.draw());
    },
    onReset() {
      stream.reset();
      source.rewind();
      views.forEach((view) => view.clear());
      redraw();
    },
  });
}

async function main() {
  prepareCheck(element("ways"));
  const contract = await readContract();
  showHeading(contract);
  const { graphs, weights, golden, kind } = await readArtifact(contract);
  if (isInside(WASM)) ort.env.wasm.wasmBinary = (await readFile(WASM)).buffer;
  const model = await open(ort, { ...graphs, weights, contract });
  const recorded = Object.fromEntries(contract.graphs[kind].inputs.map((port) => [port.name, recording(golden[port.name], port, kind)]));
  const call = new ModelCall(contract, Object.assign({}, ...Object.values(recorded).map((run) => run.sizes)));
  const stream = model.stream(call.batch);

  const page = { model, call, recorded, stream, setRunning: () => {} };
  page.reset = () => (page.runner.wantsReset = true);
  page.source = makeSource(contract, { ...page, setRunning: (running) => page.setRunning(running) });
  page.views = makeViews(contract, page);
  page.runner = makeRunner(page);
  page.setRunning = connectControls({ ...page, speeds: speedsOf(contract) });
  const size = Object.values({ ...graphs, ...weights }).reduce((sum, { length }) => sum + length, 0);
  const runtime = `ONNX Runtime ${ort.env.versions?.web ?? ""}, wasm`;
  const [facts, notes, ports] = ["facts", "notes", "ports"].map(element);
  showContract(contract, { facts, notes, ports, size, runtime });
  document.querySelector("main").classList.remove("closed");
  await check(model, golden);
}

main().catch((error) => {
  element("problem").textContent = error.message;
  element("problem").hidden = false;
  element("name").textContent = "The model did not open";
});
