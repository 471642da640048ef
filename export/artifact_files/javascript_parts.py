"""Parts of the JavaScript in a model card that are the same for every model.

Words in capitals are replaced by `javascript_example`.
"""

__all__ = [
    "BEST",
    "CHECK",
    "CONTRACT",
    "DECODE",
    "DEFINED",
    "ENCODE_CHARACTERS",
    "ENCODE_WORDS",
    "FLOAT16",
    "IMPORTS",
    "LEARNED",
    "PART",
    "REPORT",
    "VOCABULARY",
]

IMPORTS = """\
// In a browser, instead of the next two lines:
// import * as ort from "onnxruntime-web";
// const readFile = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
import * as ort from "onnxruntime-node";
import { readFile } from "node:fs/promises";

"""
CONTRACT = """\
const contract = JSON.parse(new TextDecoder().decode(await readFile(`${folder}/contract.json`)));"""
FLOAT16 = """\
// Numbers of type float16, as their 16 bits.
const toBits = (x) => {
  const e = Math.max(-14, Math.floor(Math.log2(Math.abs(x))));
  return (x < 0 ? 0x8000 : 0) + (e + 15) * 1024 + Math.round((Math.abs(x) / 2 ** e - 1) * 1024);
};
const toNumber = (bits) => {
  const [e, m] = [(bits >> 10) & 31, bits & 1023];
  return (bits & 0x8000 ? -1 : 1) * (e ? 2 ** (e - 25) * (1024 + m) : 2 ** -24 * m);
};
const numbers = (data) => (data instanceof Uint16Array ? Float32Array.from(data, toNumber) : data);
"""
LEARNED = """\
/** Return the learned initial value of state `index`, the same for every sequence. */
function learned(index, inner) {
  const one = [contract.states[index].initial].flat(Infinity);
  const at = (i) => Math.floor(i / inner / batch) * inner + (i % inner);
  return Array.from({ length: one.length * batch }, (_, i) => one[at(i)]);
}
"""
DEFINED = """\
/** Return an output without the first `delay` steps of a stream, which are not defined.
 * It has some rows, each with some steps after the `before` steps of the calls before. */
function defined(data, rows, steps, delay, before) {
  const row = data.length / rows;
  return data.filter((_, i) => ((i % row) * steps) / row >= delay - before);
}
"""
VOCABULARY = """\
const { symbols, unknown, padding } = contract.vocabulary;
const idOf = new Map(symbols.map((symbol, id) => [symbol, id]));
for (const special of [unknown, padding]) idOf.delete(symbols[special]);
const lengths = [...new Set(Array.from(idOf.keys(), (symbol) => symbol.length))];
lengths.sort((a, b) => b - a);

function unknownId(what) {
  if (unknown === null) throw new Error(`"${what}" is not in the vocabulary`);
  return unknown;
}
"""
ENCODE_WORDS = """\
/** Return the ids of a text: of each word the longest symbols that fit. */
export function encode(text) {
  return (text.match(/\\S+/g) ?? []).flatMap((word) => {
    const ids = [];
    for (let at = 0; at < word.length; at += symbols[ids.at(-1)].length) {
      const length = lengths.find((length) => idOf.has(word.slice(at, at + length)));
      if (length === undefined) return [unknownId(word)];
      ids.push(idOf.get(word.slice(at, at + length)));
    }
    return ids;
  });
}
"""
ENCODE_CHARACTERS = """\
/** Return the ids of a text: at each place the longest symbol that fits. */
export function encode(text) {
  const ids = [];
  for (let at = 0; at < text.length; ) {
    const length = lengths.find((length) => idOf.has(text.slice(at, at + length)));
    const character = String.fromCodePoint(text.codePointAt(at));
    const symbol = length ? text.slice(at, at + length) : character;
    ids.push(idOf.get(symbol) ?? unknownId(symbol));
    at += symbol.length;
  }
  return ids;
}
"""
DECODE = """\
/** Return the text of ids. */
export function decode(ids) {
  return ids.filter((id) => id !== padding).map((id) => symbols[id]).join(SEPARATOR);
}
"""
CHECK = """\

// --- the golden run: what torch gave, recorded at export ---

/** Read a recorded array: a .npy file. */
async function recorded(port) {
  const file = await readFile(`${folder}/golden/${port}.npy`);
  const start = 10 + file[8] + 256 * file[9]; // after the header
  const header = new TextDecoder().decode(file.subarray(10, start));
  const [, type, shape] = header.match(/'descr': '(.+?)'.*\\((.*)\\)/);
  const arrays = { ARRAYS };
  const data = new arrays[type](Uint8Array.from(file.subarray(start)).buffer);
  return { DATA, dims: (shape.match(/\\d+/g) ?? []).map(Number) };
}

/** Replay the recorded steps; return the largest difference from what torch gave. */
export async function check() {
  const golden = {};
  const ports = [PORTS];
  for (const port of ports) golden[port] = await recorded(port);
  let largest = 0;
  const compare = (got, wanted) => {
    const size = (x) => (Number.isFinite(Number(x)) ? Math.abs(Number(x)) : 0);
    const scale = wanted.reduce((most, x) => Math.max(most, size(x)), 1);
    if (got.length !== wanted.length) largest = Infinity;
    wanted.forEach((x, i) => {
      if (x !== got[i]) largest = Math.max(largest, Math.abs(Number(x) - Number(got[i])) / scale);
    });
  };
REPLAY
  return largest;
}
"""
PART = """\
const part = (port, rows, call) => {
  const { data } = golden[port];
  const length = data.length / rows / calls;
  return data.filter((_, i) => Math.floor(i / length) % calls === call);
};
"""
REPORT = """\
const difference = await check();
const agrees = difference <= TOLERANCE ? "agrees" : "DIFFERS";
const much = difference.toExponential(1);
console.log(`golden run ${agrees}: max difference ${much}, tolerance TOLERANCE`);
"""
BEST = """\
const best = [];
for (const id of encode(text)) {
  const scores = SCORES;
  best.push(scores.indexOf(scores.reduce((a, b) => Math.max(a, b))));
}
console.log(text, decode(best)); // the best symbol after each one"""
