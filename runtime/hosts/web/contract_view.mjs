// The tables of the page: what the contract says, and how the self-check went.

import { short } from "page/line_plot.mjs";
import { dataInputs } from "page/model_call.mjs";

const number = (value) => Number(value).toLocaleString("en");
const bytes = (count) => (count < 1e5 ? `${number(count)} bytes` : `${(count / 1e6).toFixed(count < 1e7 ? 2 : 1)} MB`);
const count = (value, word) => `${number(value)} ${word}${value === 1 ? "" : "s"}`;

/** Describe the layers of a model: `Embedding 31 → 24, LSTM 24 → 48 × 2`. */
export function layersText(layers) {
  return (layers ?? []).map((layer) => {
    const many = layer.num_layers > 1 ? ` × ${layer.num_layers}` : "";
    return `${layer.kind} ${layer.input_size} → ${layer.output_size}${many}`;
  }).join(", then ");
}

function addRow(body, cells) {
  const row = body.insertRow();
  cells.forEach((text, column) => {
    const cell = column === 0 ? document.createElement("th") : row.insertCell();
    if (column === 0) {
      cell.scope = "row";
      row.append(cell);
    }
    cell.textContent = text;
  });
  return row;
}

/** Fill the facts, notes and ports. size: the bytes of the graphs. runtime: what runs them. */
export function showContract(contract, { facts, notes, ports, size, runtime }) {
  const { hop = 1, delays = {}, cost, sample_rate: rate } = contract;
  const time = (steps) => (rate ? ` (${Number(((1000 * steps) / rate).toPrecision(3))} ms)` : "");
  const late = Object.entries(delays).map(([name, steps]) => {
    const port = contract.graphs.step?.outputs.find((one) => one.name === name);
    const each = hop / (port?.shape[port.axes.indexOf("hop")] ?? 1); // steps of the input for one of it
    return `${name} ${count(steps, "step")}${port ? time(steps * each) : ""}`;
  });
  const rows = [
    ["Parity", contract.summary || "not checked"],
    ["Parameters", cost ? number(cost.parameters) : "unknown"],
    ["Size of the graphs", bytes(size)],
    ["State of a sequence", cost ? bytes(cost.state_bytes) : "unknown"],
    ["Hop", `${count(hop, "step")}${time(hop)}`],
    ["Delay", late.join(", ") || "none"],
    ["Sample rate", rate ? `${number(rate)} a second` : "not given"],
    ["Runs on", runtime],
  ];
  for (const [term, text] of rows) {
    const pair = document.createElement("div");
    pair.append(document.createElement("dt"), document.createElement("dd"));
    [pair.children[0].textContent, pair.children[1].textContent] = [term, text];
    facts.append(pair);
  }
  for (const note of contract.notes ?? []) {
    notes.append(document.createElement("li"));
    notes.lastChild.textContent = note;
  }
  const graph = contract.graphs.step ?? contract.graphs.sequence;
  const kind = contract.graphs.step ? "step" : "sequence";
  const data = new Set(dataInputs(contract, kind).map((port) => port.name));
  const states = new Set(contract.states.flatMap((state) => [state.in, state.out]));
  for (const [direction, list] of [["input", graph.inputs], ["output", graph.outputs]]) {
    for (const port of list) {
      const isLengths = direction === "input" && !data.has(port.name) && !states.has(port.name);
      const remarks = [
        port.limit && `less than ${number(port.limit)}`,
        delays[port.name] && `${count(delays[port.name], "step")} late`,
        contract.tails?.[port.name] && `${count(contract.tails[port.name], "step")} after the end`,
        isLengths && "lengths of the sequences",
      ].filter(Boolean);
      const named = port.shape.map((one, axis) => (port.axes[axis] === "hop" ? `hop ${one}` : one));
      addRow(ports, [port.name, states.has(port.name) ? `state, ${direction}` : direction, port.dtype, named.join(" × ") || "one number", remarks.join(", ")]);
    }
  }
}

const WAYS = [["whole", "Whole sequence"], ["chunks", "By chunks"], ["steps", "Step by step"], ["withoutState", "Control: state not fed back"]];
const MARKS = { passed: "M4.5 8.2l2.4 2.4 4.6-5", failed: "M5 5l6 6M11 5l-6 6", waiting: "" };

/** Fill the table of the ways with empty rows, so that nothing moves when the results come. */
export function prepareCheck(body) {
  for (const [, title] of WAYS) addRow(body, [title, "–", "waiting"]).cells[1].className = "number";
}

/** Show the differences of the self-check; return whether it passed. */
export function showCheck(differences, tolerance, { body, light, title, text }) {
  const carried = Number.isNaN(differences.steps) ? differences.chunks : differences.steps;
  let passed = true;
  WAYS.forEach(([key], row) => {
    const difference = differences[key];
    const isControl = key === "withoutState";
    const applies = !Number.isNaN(difference) && difference !== undefined && difference !== null;
    const fits = !applies || (isControl ? difference > carried : difference <= tolerance);
    passed &&= fits;
    const [, number, result] = body.rows[row].cells;
    number.textContent = applies ? short(difference) : "–";
    result.textContent = !applies ? "does not apply" : !fits ? (isControl ? "no difference: wrong" : "too large") : isControl ? "differs, as it must" : "agrees";
    result.className = !applies ? "" : fits ? "good" : "bad";
  });
  const largest = Math.max(...["whole", "chunks", "steps"].map((key) => differences[key]).filter((one) => one >= 0));
  setLight({ light, title, text }, passed ? "passed" : "failed", `largest difference ${short(largest)}, at most ${short(tolerance)} is allowed`);
  return passed;
}

/** Set the light: `passed`, `failed` or `waiting`, with a text. */
export function setLight({ light, title, text }, state, sentence) {
  light.dataset.state = state;
  light.querySelector("path").setAttribute("d", MARKS[state]);
  title.textContent = state === "waiting" ? "Self-check" : `Self-check ${state}`;
  text.textContent = sentence;
}
