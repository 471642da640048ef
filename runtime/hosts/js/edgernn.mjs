/**
 * Run an artifact of edgernn in Node, Deno, Bun or a browser: a recurrent model with its state.
 *
 *     import * as ort from "onnxruntime-node"; // or onnxruntime-web
 *     import { open } from "./edgernn.mjs";
 *
 *     const model = await open(ort, "model.edgernn");
 *     const stream = model.stream();
 *     const { output } = await stream.step({ x: new Float32Array(10) });
 *
 * Nothing about a model is written here: its ports, states, initial values and vocabulary are read
 * from the metadata of its graphs. The types are in edgernn.d.ts.
 *
 * A call that fails changes nothing. A stream runs one call at a time: a second call before the
 * first has ended is an error; streams of one model are independent.
 */

/** An error of this module; `kind` is contract, provider, input, state or memory. */
export class EdgernnError extends Error {
  constructor(kind, message, options) {
    super(message, options);
    this.name = "EdgernnError";
    this.kind = kind;
  }
}

function fail(kind, message, cause) {
  throw new EdgernnError(kind, message, cause && { cause });
}

/* ---- Numbers ------------------------------------------------------------------------------- */

const Half = globalThis.Float16Array ?? Uint16Array; // without Float16Array: the bits

/** Name of a dtype → its number in ONNX, its name in .npy files, and its array. */
const DTYPES = {
  float32: [1, "f4", Float32Array],
  uint8: [2, "u1", Uint8Array],
  int8: [3, "i1", Int8Array],
  uint16: [4, "u2", Uint16Array],
  int16: [5, "i2", Int16Array],
  int32: [6, "i4", Int32Array],
  int64: [7, "i8", BigInt64Array],
  bool: [9, "b1", Uint8Array],
  float16: [10, "f2", Half],
  float64: [11, "f8", Float64Array],
  uint32: [12, "u4", Uint32Array],
  uint64: [13, "u8", BigUint64Array],
};
const STATE_DTYPES = ["float32", "float16", "int64", "bool"];
const MOST = 2 ** 31 - 1;

const arrayOf = (dtype) => DTYPES[dtype][2];
const isFloat = (dtype) => dtype.startsWith("float");
const product = (sizes) => sizes.reduce((all, size) => all * size, 1);

/** Return the float16 nearest to a number, as its 16 bits. */
function toHalf(number) {
  const size = Math.abs(number), sign = number < 0 || Object.is(number, -0) ? 0x8000 : 0;
  if (Number.isNaN(number)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  let exponent = Math.max(Math.floor(Math.log2(size)), -14);
  if (2 ** exponent > size && exponent > -14) exponent -= 1;
  if (2 ** (exponent + 1) <= size) exponent += 1;
  const exact = size / 2 ** (exponent - 10), below = Math.floor(exact);
  const up = exact - below > 0.5 || (exact - below === 0.5 && below % 2 === 1);
  return sign | (((exponent + 14) << 10) + below + up);
}

/** Return the number of 16 bits of a float16. */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
}

/** Return the numbers of a tensor: its data, but those of float16 as a Float32Array. */
export function numbers({ type, data }) {
  if (type !== "float16") return data;
  return data instanceof Uint16Array ? Float32Array.from(data, fromHalf) : Float32Array.from(data);
}

/** Return an array of a dtype from numbers, BigInts or booleans; null where one does not fit. */
function convert(dtype, values) {
  const array = new (arrayOf(dtype))(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (dtype === "bool") {
      if (value !== true && value !== false && value !== 0 && value !== 1) return null;
      array[i] = value;
    } else if (isFloat(dtype)) {
      if (typeof value !== "number") return null;
      array[i] = dtype === "float16" && Half === Uint16Array ? toHalf(value) : value;
      const stored = dtype === "float16" && Half === Uint16Array ? fromHalf(array[i]) : array[i];
      if (Number.isFinite(value) && !Number.isFinite(stored)) return null;
    } else {
      if (typeof value !== "bigint" && !Number.isSafeInteger(value)) return null;
      array[i] = array instanceof BigInt64Array || array instanceof BigUint64Array
        ? BigInt(value) : Number(value);
      if (array[i] != value) return null; // out of range; a BigInt may equal a number
    }
  }
  return array;
}

/** Return whether all numbers of a state's array are finite. */
function areFinite(dtype, data) {
  return !isFloat(dtype) || numbers({ type: dtype, data }).every(Number.isFinite);
}

/* ---- Arrays: { data, dims } ---------------------------------------------------------------- */

/** Return a copy of the part of an array from `start` to `stop` of an axis. */
function cut({ data, dims }, axis, start, stop) {
  const outer = product(dims.slice(0, axis)), inner = product(dims.slice(axis + 1));
  const length = (stop - start) * inner, whole = dims[axis] * inner;
  const part = new data.constructor(outer * length);
  for (let i = 0; i < outer; i++) {
    const from = i * whole + start * inner;
    part.set(data.subarray(from, from + length), i * length);
  }
  return { data: part, dims: dims.with?.(axis, stop - start) ?? replaced(dims, axis, stop - start) };
}

function replaced(dims, axis, ...sizes) {
  return [...dims.slice(0, axis), ...sizes, ...dims.slice(axis + 1)];
}

/** Join arrays along an axis. */
function concatenate(parts, axis) {
  if (parts.length === 1) return parts[0];
  const [{ data, dims }] = parts;
  const outer = product(dims.slice(0, axis)), inner = product(dims.slice(axis + 1));
  const size = parts.reduce((sum, part) => sum + part.dims[axis], 0);
  const joined = new data.constructor(outer * size * inner);
  let start = 0;
  for (const part of parts) {
    const length = part.dims[axis] * inner;
    for (let i = 0; i < outer; i++) {
      joined.set(part.data.subarray(i * length, (i + 1) * length), i * size * inner + start);
    }
    start += length;
  }
  return { data: joined, dims: replaced(dims, axis, size) };
}

/** Return the size of an axis: a number, or an expression of names as `3*(sequence//160)`. */
function evaluate(size, symbols) {
  if (typeof size === "number") return size;
  if (Object.hasOwn(symbols, size)) return symbols[size];
  const tokens = size.match(/\d+|[A-Za-z_]\w*|\/\/|\S/g) ?? [];
  let at = 0;
  const atom = () => {
    const token = tokens[at++];
    if (token === "-") return -atom();
    if (token !== "(") return /^\d/.test(token) ? Number(token) : (symbols[token] ?? NaN);
    const inside = sum();
    return tokens[at++] === ")" ? inside : NaN;
  };
  const factors = () => {
    let value = atom();
    while (tokens[at] === "*" || tokens[at] === "//") {
      value = tokens[at++] === "*" ? value * atom() : Math.floor(value / atom());
    }
    return value;
  };
  const sum = () => {
    let value = factors();
    while (tokens[at] === "+" || tokens[at] === "-") {
      value += tokens[at++] === "+" ? factors() : -factors();
    }
    return value;
  };
  const value = size.length <= 200 ? sum() : NaN;
  return at === tokens.length && Number.isInteger(value) ? value : null;
}

const words = (name) => name?.match(/\w+/g) ?? [];
const isName = (size) => /^[A-Za-z_]\w*$/.test(size);
const plural = (count, one = "step", several = `${one}s`) => `${count} ${count === 1 ? one : several}`;
const shapeText = (dims) => `[${dims.join(", ")}]`;

/* ---- The contract in a graph's metadata ---------------------------------------------------- */

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Yield [number, value] of each field of a protobuf message; bytes, or a number for a varint. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new RangeError("a number is too long");
  };
  while (at < bytes.length) {
    const tag = varint(), wire = tag % 8;
    if (wire === 0) {
      yield [Math.floor(tag / 8), varint()];
      continue;
    }
    const size = wire === 2 ? varint() : { 1: 8, 5: 4 }[wire];
    if (!(at + size <= bytes.length)) throw new RangeError("it ends too early");
    yield [Math.floor(tag / 8), bytes.subarray(at, at + size)];
    at += size;
  }
}

/** Return the values of all fields of a number. */
const all = (message, number) =>
  [...fieldsOf(message)].filter(([found]) => found === number).map(([, value]) => value);

/** Return the port that a ValueInfoProto declares. */
function declaredPort(info) {
  const [type] = all(all(info, 2).at(-1) ?? [], 1);
  const number = type && all(type, 1)[0];
  const dtype = Object.keys(DTYPES).find((name) => DTYPES[name][0] === number);
  const shape = type && all(type, 2)[0];
  const name = utf8.decode(all(info, 1)[0]);
  if (!dtype || !shape) throw new RangeError(`port ${name} is not a tensor of numbers`);
  const sizes = all(shape, 1).map((dim) => {
    const [size] = all(dim, 1), [text] = all(dim, 2);
    return size ?? (text ? utf8.decode(text) : "?");
  });
  return { name, dtype, shape: sizes };
}

/** Read a graph: its kind, its metadata without the prefix `edgernn.`, and its ports. */
function readGraph(bytes, subject) {
  const metadata = new Map();
  let inputs, outputs, operators;
  try {
    for (const entry of all(bytes, 14)) {
      const key = utf8.decode(all(entry, 1)[0]);
      if (key.startsWith("edgernn.")) metadata.set(key.slice(8), utf8.decode(all(entry, 2)[0] ?? []));
    }
    const [graph] = all(bytes, 7);
    if (!graph) throw new RangeError("it has no graph");
    operators = new Set(all(graph, 1).map((node) => utf8.decode(all(node, 4)[0])));
    [inputs, outputs] = [11, 12].map((field) => all(graph, field).map(declaredPort));
  } catch (error) {
    fail("contract", `${subject} is not an ONNX graph: ${error.message}. Export the model with `
      + "`edgernn export`.", error);
  }
  const version = metadata.get("contract");
  if (version === undefined) {
    fail("contract", `${subject} carries no edgernn contract. Export the model with `
      + "`edgernn export`.");
  }
  if (version !== "1") {
    fail("contract", `${subject} is of contract version ${version}; this edgernn reads version 1. `
      + "Export the model again, or take the edgernn.mjs of the edgernn that wrote it.");
  }
  return { ...contractOf({ subject, metadata, inputs, outputs }), operators };
}

/** Return functions that read the metadata of a graph, and refuse what is not of its form. */
function readersOf(subject, metadata) {
  const broken = (reason) => fail("contract",
    `${subject} has a contract that cannot be read: ${reason}. Export the model again.`);
  const text = (key) => metadata.get(key) ?? broken(`\`${key}\` is missing`);
  const oneOf = (key, known, value = text(key)) => known.includes(value)
    ? value : broken(`\`${key}\` is \`${value}\`; expected one of ${known.join(", ")}`);
  const count = (key, least = 0, most = Number.MAX_SAFE_INTEGER) => {
    const value = metadata.get(key);
    if (value === undefined) return undefined;
    if (!/^\d{1,18}$/.test(value) || value < least || value > most) {
      broken(`\`${key}\` is \`${value}\`; expected an integer of at least ${least}`);
    }
    return Number(value);
  };
  const real = (key) => {
    const value = Number(metadata.get(key) || NaN);
    return Number.isFinite(value) ? value
      : broken(`\`${key}\` is \`${metadata.get(key)}\`; expected a finite number`);
  };
  const under = (prefix, read) => Object.fromEntries([...metadata.keys()]
    .filter((key) => key.startsWith(prefix)).map((key) => [key.slice(prefix.length), read(key)]));
  const listed = (key) => (metadata.get(key) ?? "").split(",").filter(Boolean);
  return { broken, text, oneOf, count, real, under, listed };
}

/** Return the contract of one graph, from its metadata and ports. */
function contractOf({ subject, metadata, inputs, outputs }) {
  const readers = readersOf(subject, metadata);
  const { broken, text, oneOf, count, real, under, listed } = readers;
  const pairs = listed("states").map((pair) => pair.split(":"));
  if (text("states") && pairs.some((pair) => pair.length !== 2 || !pair.every(Boolean))) {
    broken(`\`states\` is \`${text("states")}\`; expected pairs, as h_in:h_out,c_in:c_out`);
  }
  const lengths = listed("lengths"), ends = new Set(pairs.flat());
  for (const port of [...inputs, ...outputs]) {
    port.isState = ends.has(port.name);
    port.isLengths = lengths.includes(port.name);
    describePort(port, metadata, readers);
  }
  return {
    subject, metadata, inputs, outputs, lengths, kind: oneOf("graph", ["sequence", "step"]),
    states: pairs.map((pair) => stateOf(pair, inputs, outputs, metadata, broken)),
    carry: oneOf("carry", ["yes", "no"]) === "yes",
    divisible: oneOf("divisible", ["yes", "no"], metadata.get("divisible") ?? "yes") === "yes",
    family: text("family"), fullLengths: listed("lengths.full"),
    most: under("most.", (key) => count(key, 1)), least: under("least.", (key) => count(key, 1)),
    hop: count("hop", 1, MOST) ?? 1, padding: under("padding.", real),
    vocabulary: vocabularyOf(metadata, count, broken),
  };
}

/** Give a port the names of its axes, and what the metadata says of it. */
function describePort(port, metadata, { broken, count }) {
  const names = metadata.get(`axes.${port.name}`)?.split(",");
  if (names && names.length !== port.shape.length) {
    broken(`\`axes.${port.name}\` names ${names.length} axes of \`${portText(port)}\``);
  }
  port.axes = names ? names.map((axis) => axis || null)
    : port.shape.map((size) => typeof size === "string" ? size : null);
  if (!names && port.isState && port.shape.length === 3 && !port.axes.includes("batch")) {
    port.axes[1] = "batch";
  }
  port.limit = count(`limit.${port.name}`, 1) ?? null;
  port.delay = count(`delay.${port.name}`, 0, MOST) ?? 0;
  port.tail = count(`tail.${port.name}`, 0, MOST) ?? 0;
}

/** Return a state from the names of its input and its output. */
function stateOf([input, output], inputs, outputs, metadata, broken) {
  const port = inputs.find(({ name }) => name === input);
  const after = outputs.find(({ name }) => name === output);
  if (!port || !after) broken(`there is no port for the state \`${input}:${output}\``);
  if (portText({ ...port, name: "" }) !== portText({ ...after, name: "" })) {
    broken(`the state \`${portText(port)}\` ends as \`${portText(after)}\``);
  }
  const fits = STATE_DTYPES.includes(port.dtype)
    && port.shape.every((size) => typeof size === "number" || size === "batch")
    && product(port.shape.map((size) => size === "batch" ? 1 : size)) <= 2 ** 30;
  if (!fits) broken(`the state \`${portText(port)}\` is not one that a stream can hold`);
  const key = `initial.${input.replace(/_in$/, "")}`;
  const initial = metadata.has(key) ? initialOf(port, metadata.get(key), () =>
    broken(`\`${key}\` is not an initial value of \`${portText(port)}\``)) : null;
  return { input, output, port, initial };
}

const portText = ({ name, dtype, shape }) => `${name}: ${dtype}[${shape.join(", ")}]`;

/** Read the initial value of a state: numbers for all sequences, or for each of a constant batch. */
function initialOf({ dtype, shape, axes }, text, refuse) {
  const dims = shape.map((size) => typeof size === "string" ? 1 : size);
  const one = dims.map((size, axis) => axes[axis] === "batch" ? 1 : size);
  const integer = /^int/.test(dtype);
  const values = text.split(" ").map((word) => {
    if (!(integer ? /^-?\d+$/ : /^[-+.\deE]+$/).test(word)) refuse();
    return integer ? BigInt(word) : dtype === "bool" ? Number(word) : Math.fround(Number(word));
  });
  const data = convert(dtype, values);
  if (!data || !areFinite(dtype, data)) refuse();
  if (data.length === product(one)) return { data, dims: one };
  return data.length === product(dims) ? { data, dims } : refuse();
}

function vocabularyOf(metadata, count, broken) {
  if (!metadata.has("vocabulary")) return null;
  const characters = { n: "\n", r: "\r", 0: "\0", "\\": "\\" };
  const symbols = metadata.get("vocabulary").split("\n")
    .map((line) => line.replace(/\\([nr0\\])/g, (_, escape) => characters[escape]));
  const [unknown, padding] = ["unknown", "padding"].map((role) =>
    count(`vocabulary.${role}`, 0, symbols.length - 1) ?? null);
  if (symbols.includes("") || new Set(symbols).size < symbols.length) {
    broken("`vocabulary` has a symbol that is empty or there twice");
  }
  return new Vocabulary(symbols, unknown, padding);
}

/** The symbols of ids. */
class Vocabulary {
  constructor(symbols, unknown, padding) {
    const ordinary = symbols.filter((_, id) => id !== unknown && id !== padding);
    const several = ordinary.filter((symbol) => [...symbol].length > 1).length;
    Object.assign(this, { symbols, unknown, padding });
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    for (const special of [unknown, padding]) this.ids.delete(symbols[special]);
    this.lengths = [...new Set(ordinary.map((symbol) => symbol.length))].sort((a, b) => b - a);
    this.areWords = 2 * several > ordinary.length && !ordinary.some((symbol) => BLANK.test(symbol));
  }

  encode(text) {
    if (LONE.test(text)) fail("input", "The text is not Unicode: half of a character is missing.");
    const pieces = this.areWords ? text.matchAll(WORD) : [{ 0: text, index: 0 }];
    return [...pieces].flatMap((piece) => this.#idsOf(piece[0], piece.index, text));
  }

  #idsOf(piece, start, text) {
    const ids = [];
    for (let at = 0; at < piece.length;) {
      const size = this.lengths.find((length) => this.ids.has(piece.slice(at, at + length)));
      if (size === undefined && this.areWords) return [this.#unknown(piece, start, text)];
      const character = String.fromCodePoint(piece.codePointAt(at));
      ids.push(size === undefined ? this.#unknown(character, start + at, text)
        : this.ids.get(piece.slice(at, at + size)));
      at += size ?? character.length;
    }
    return ids;
  }

  #unknown(what, place, text) {
    if (this.unknown !== null) return this.unknown;
    return fail("input", `\`${what}\` at position ${[...text.slice(0, place)].length} of the text is `
      + `not in the vocabulary of ${plural(this.symbols.length, "symbol")}, which has no unknown symbol. `
      + "Give text of its symbols only.");
  }

  decode(ids) {
    return Array.from(ids, Number).filter((id) => {
      if (id in this.symbols) return id !== this.padding;
      return fail("input", `Id ${id} is outside the vocabulary, which has ids 0 to `
        + `${this.symbols.length - 1}. Give one of them.`);
    }).map((id) => this.symbols[id]).join(this.areWords ? " " : "");
  }
}

const SPACES = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANK = new RegExp(`[${SPACES}]`);
const WORD = new RegExp(`[^${SPACES}]+`, "g");
const LONE = /[\ud800-\udfff]/u; // with the flag, half of a pair alone

/* ---- Ports over whole sequences ------------------------------------------------------------ */

const BATCH_OUTER = /^batch\*(sequence|\(sequence\/\/\d+\))$/;

/** Return the axis that counts steps: of a sequence graph, or of one hop; -1 without one. */
function stepsAxis(port) {
  const whole = port.axes.findIndex((name) => words(name).includes("sequence"));
  return whole >= 0 ? whole : port.axes.indexOf("hop");
}

/** Return how many of its own steps a port has for each hop of the input. */
function stepsPerHop(port, hop) {
  const axis = stepsAxis(port);
  if (axis < 0) return 1;
  if (port.axes[axis] === "hop") return port.shape[axis];
  return evaluate(port.axes[axis], { batch: 1, sequence: hop }) || 1;
}

/** Return a port of the step graph as a chunk of whole hops has it. */
function overChunks(port, hop, isOutput) {
  const axis = port.axes.indexOf("hop");
  const put = (list, name) => axis < 0 ? [name, ...list] : replaced(list, axis, name);
  let name = "sequence";
  if (axis >= 0 && port.shape[axis] !== hop) name = `${port.shape[axis]}*(sequence//${hop})`;
  if (axis < 0 && hop > 1) {
    if (!isOutput) return port;
    name = `sequence//${hop}`;
  }
  return { ...port, shape: put(port.shape, name), axes: put(port.axes, name) };
}

/** Return an input of the sequence graph as a step has it. */
function ofOneStep(port, hop) {
  const axis = stepsAxis(port);
  if (axis < 0) return port;
  const [size, name] = hop === 1 ? [[], []] : [[hop], ["hop"]];
  return { ...port, shape: replaced(port.shape, axis, ...size), axes: replaced(port.axes, axis, ...name) };
}

/** Return a data port over whole sequences, with its axis of steps free. */
function wholePort(port, step, hop) {
  const axis = stepsAxis(port), name = port.axes[axis];
  const shape = port.shape.map((size, at) => words(port.axes[at]).includes("sequence")
    ? port.axes[at] : size);
  const rate = stepsPerHop(port, hop);
  return {
    ...port, shape, axis, rate, dims: port.shape,
    batchOuter: BATCH_OUTER.test(name ?? ""), flattened: words(name).includes("batch"),
    stepRank: step ? step.shape.length : shape.length - (axis >= 0 && rate === 1 ? 1 : 0),
  };
}

/** Return the steps from `start` to `stop` of an array of a whole port. */
function takeSteps({ axis, batchOuter, flattened }, array, start, stop, batch) {
  if (axis < 0) return array;
  if (!batchOuter) {
    const each = flattened ? batch : 1;
    return cut(array, axis, start * each, stop * each);
  }
  const steps = array.dims[axis] / batch;
  const unfolded = { data: array.data, dims: replaced(array.dims, axis, batch, steps) };
  const { data } = cut(unfolded, axis + 1, start, stop);
  return { data, dims: replaced(array.dims, axis, batch * (stop - start)) };
}

/** Join the chunks of a whole port along its steps; of one without steps, take the last. */
function joinSteps({ axis, batchOuter }, parts, batch) {
  if (axis < 0 || parts.length === 1) return parts.at(-1);
  if (!batchOuter) return concatenate(parts, axis);
  const unfolded = parts.map(({ data, dims }) =>
    ({ data, dims: replaced(dims, axis, batch, dims[axis] / batch) }));
  const { data, dims } = concatenate(unfolded, axis + 1);
  return { data, dims: [...dims.slice(0, axis), batch * dims[axis + 1], ...dims.slice(axis + 2)] };
}

/* ---- Checks of inputs ---------------------------------------------------------------------- */

const takes = (ports) => ports.map((port) => `\`${portText(port)}\``).join(", ") || "no data inputs";

/** Return what was given as { data, dims }: the data a copy of the port's dtype, dims maybe null. */
function arrayFor(port, value, kind = "input") {
  let data = value, dims = null, came = null;
  if (value?.data !== undefined && value.dims) {
    ({ data, dims } = value);
    came = value.type ?? null;
  }
  if (["number", "bigint", "boolean"].includes(typeof data)) data = [data];
  const whole = ArrayBuffer.isView(data);
  if (whole) {
    const fits = data instanceof arrayOf(port.dtype)
      || (port.dtype === "float16" && data instanceof Uint16Array);
    if (came === null && !fits) came = nameOf(data);
    if ((came ?? port.dtype) === port.dtype && fits) {
      const own = arrayOf(port.dtype) === data.constructor ? data.slice()
        : new (arrayOf(port.dtype))(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
      return { data: own, dims: dims && [...dims] };
    }
    return fail(kind, `\`${portText(port)}\` came as ${came ?? nameOf(data)}. Give it as ${port.dtype}.`);
  }
  if (!Array.isArray(data)) {
    fail(kind, `\`${portText(port)}\` came as ${data === null ? "null" : typeof data}. Give a typed `
      + "array, or numbers in an array.");
  }
  if (!dims && data.some(Array.isArray)) {
    dims = dimsOf(data) ?? fail(kind, `\`${portText(port)}\` came in rows of different lengths. Give rows of one `
      + "length.");
  }
  const flat = data.flat(Infinity);
  const converted = convert(port.dtype, flat);
  if (!converted) {
    const odd = flat.find((one) => convert(port.dtype, [one]) === null);
    fail(kind, `\`${portText(port)}\` came with ${typeof odd === "string" ? `"${odd}"` : odd}. Give `
      + `numbers of ${port.dtype}.`);
  }
  return { data: converted, dims };
}

const nameOf = (data) => Object.keys(DTYPES)
  .find((name) => name !== "float16" && name !== "bool" && arrayOf(name) === data.constructor)
  ?? data.constructor.name;

/** Return the dims of nested arrays; null where their lengths differ. */
function dimsOf(nested) {
  if (!nested.some(Array.isArray)) return [nested.length];
  const inner = nested.map((one) => Array.isArray(one) ? dimsOf(one) : null);
  return inner.every((dims) => dims && dims.join() === inner[0]?.join()) ? [nested.length, ...inner[0]] : null;
}

/** Return the dims of data that came without: all but one axis are known. */
function inferDims(port, length, symbols) {
  const sizes = port.shape.map((size) => evaluate(size, symbols));
  const open = sizes.flatMap((size, axis) => size === null ? [axis] : []);
  const known = product(sizes.filter((size) => size !== null));
  if (open.length === 1 && length % known === 0) sizes[open[0]] = length / known;
  else if (open.length > 1) {
    fail("input", `\`${portText(port)}\` came without dims, and has more than one axis of any size. `
      + "Give { data, dims }.");
  } else if (open.length === 1) {
    fail("input", `\`${portText(port)}\` came with ${length} numbers, which is no multiple of ${known}.`);
  }
  if (product(sizes) !== length) {
    fail("input", `\`${portText(port)}\` came with ${length} numbers; it takes ${product(sizes)}, `
      + `shape ${shapeText(sizes)}.`);
  }
  return sizes;
}

/** Check dims against a port; add the sizes of axes that were not known to `symbols`. */
function checkDims(port, dims, symbols, origins) {
  if (dims.length !== port.shape.length) {
    fail("input", `\`${portText(port)}\` came with shape ${shapeText(dims)}: it must have `
      + `${plural(port.shape.length, "axis", "axes")}, not ${dims.length}. Give its shape.`);
  }
  for (const [axis, size] of dims.entries()) {
    const expected = port.shape[axis], name = port.axes[axis];
    if (size === 0) {
      const reason = { batch: "there must be at least one sequence", sequence:
        "there must be at least one step" }[name] ?? `axis ${axis} must not be empty`;
      fail("input", `\`${portText(port)}\` came with shape ${shapeText(dims)}: ${reason}. Give whole arrays.`);
    }
    const number = evaluate(expected, symbols);
    if (number === null && isName(expected)) {
      symbols[expected] = size;
      origins[expected] = `\`${port.name}\``;
    } else if (number !== null && number !== size && name === "hop") {
      fail("input", `\`${portText(port)}\` came with ${plural(size)}; a hop has ${number}. Give `
        + `${number}, or feed any number of steps: stream.feed(inputs).`);
    } else if (number !== size && name === "sequence" && typeof expected === "number") {
      fail("input", `\`${portText(port)}\` came with ${plural(size)}; the sequence graph takes exactly ${number}. `
        + `Give ${number}, or feed any number: stream.feed(inputs).`);
    } else if (number !== null && number !== size) {
      const because = typeof expected === "string"
        ? `, the \`${expected}\` of ${origins[expected] ?? "the other axes"}` : "";
      fail("input", `\`${portText(port)}\` came with shape ${shapeText(dims)}: axis ${axis} must be `
        + `${number}${because}, not ${size}. Give that many.`);
    }
  }
}

function checkIds(port, data) {
  if (port.limit === null) return;
  const place = data.findIndex((id) => id < 0 || id >= port.limit);
  if (place >= 0) {
    fail("input", `\`${portText(port)}\` has id ${data[place]} at ${place}; the model knows ids 0 to `
      + `${port.limit - 1}. Give one of them.`);
  }
}

/** Return the inputs by name, and check that each is there once. */
function byName(ports, given, graph) {
  const needed = ports.filter((port) => !port.isLengths);
  const plain = given && typeof given === "object" && !Array.isArray(given)
    && !ArrayBuffer.isView(given) && !(given.data !== undefined && given.dims);
  if (!plain && needed.length === 1 && given !== undefined) given = { [needed[0].name]: given };
  else if (given === undefined) given = {};
  else if (!plain) fail("input", `Give an object of names and arrays: the ${graph} takes ${takes(ports)}.`);
  for (const name of Object.keys(given)) {
    if (!ports.some((port) => port.name === name)) {
      fail("input", `\`${name}\` is not an input of the ${graph}, which takes ${takes(ports)}. Give these.`);
    }
  }
  for (const { name } of needed) {
    if (given[name] === undefined) {
      fail("input", `\`${name}\` is missing: the ${graph} takes ${takes(ports)}. Give all.`);
    }
  }
  return given;
}

/** Return the checked inputs of a call, copied, and the sizes of the axes by name. */
function checkInputs(ports, given, batch, contract, { graph, most, least }) {
  const arrays = {}, symbols = { batch }, origins = { batch: "this stream" };
  given = byName(ports, given, graph);
  for (const port of ports.filter(({ name }) => given[name] !== undefined)) {
    const { data, dims } = arrayFor(port, given[port.name]);
    arrays[port.name] = { data, dims: dims ?? inferDims(port, data.length, symbols) };
    const found = arrays[port.name].dims;
    checkDims(port, found, symbols, origins);
    if (product(found) !== data.length) {
      fail("input", `\`${portText(port)}\` has ${data.length} numbers, but its dims are ${shapeText(found)}.`);
    }
    for (const [axis, size] of found.entries()) {
      const name = port.axes[axis], high = most[name] ?? size, low = least[name] ?? size;
      if (low <= size && size <= high) continue;
      const came = name === "sequence" ? plural(size) : `\`${name}\` ${size}`;
      fail("input", `\`${portText(port)}\` came with ${came}; the ${graph} takes `
        + `${size > high ? `at most ${high}` : `at least ${low}`}. Give ${size > high ? "fewer" : "more"}.`);
    }
    checkIds(port, data);
  }
  for (const port of ports) {
    if (arrays[port.name]) checkDims(port, arrays[port.name].dims, symbols, origins);
    if (port.isLengths) checkLengths(port, arrays, symbols, contract);
  }
  return { arrays, steps: symbols.sequence ?? 1 };
}

/** Check the lengths of sequences; left out, they are the number of steps. */
function checkLengths(port, arrays, symbols, contract) {
  const steps = symbols.sequence ?? contract.hop;
  if (!arrays[port.name]) {
    arrays[port.name] = filled(port.dtype, port.shape.map((size) => evaluate(size, symbols)), steps);
    return;
  }
  const { data } = arrays[port.name];
  const place = data.findIndex((length) => length < 1 || length > steps);
  if (place >= 0) {
    fail("input", `\`${portText(port)}\` has length ${data[place]} at ${place}; sequences of this call `
      + `have 1 to ${plural(steps)}. Give such lengths.`);
  }
  const longest = data.reduce((most, length) => length > most ? length : most);
  if (contract.fullLengths.includes(port.name) && longest < steps) {
    fail("input", `\`${portText(port)}\` has ${longest} as the longest length, but the sequences of `
      + `this call have ${plural(steps)}, to which the model would pad. Give the first `
      + `${plural(Number(longest))} only.`);
  }
}

function filled(dtype, dims, value) {
  const data = new (arrayOf(dtype))(product(dims));
  return { data: data.fill(convert(dtype, [value])[0]), dims };
}

/* ---- Models -------------------------------------------------------------------------------- */

/** Return the contract of a model from those of its graphs. */
function join(graphs) {
  const [main, other] = [graphs.sequence, graphs.step].filter(Boolean);
  if (!main) fail("contract", "There is no graph. Give the bytes of sequence.onnx, of step.onnx or of both.");
  for (const [kind, graph] of Object.entries(graphs)) {
    if (graph.kind !== kind) fail("contract", `${graph.subject} is a ${graph.kind} graph, not a ${kind} graph. `
      + "Copy the whole folder of the artifact.");
  }
  if (other && main.family !== other.family) {
    fail("contract", `${other.subject} is of family ${other.family}, ${main.subject} of `
      + `${main.family}. Graphs of two exports must not be mixed; copy the whole folder.`);
  }
  const data = (ports) => ports.filter((port) => !port.isState);
  const names = (ports) => data(ports).filter((port) => !port.isLengths).map(({ name, dtype }) => name + dtype).sort().join();
  const promised = ({ carry, divisible, hop, states, inputs, outputs }) => JSON.stringify([carry, divisible, hop,
    states.map(({ input, output, port }) => portText(port) + output), names(inputs), names(outputs)]);
  if (other && promised(main) !== promised(other)) {
    fail("contract", `${other.subject} has other states, ports or hops than ${main.subject}. Export the model `
      + "again.");
  }
  const { hop } = main, step = graphs.step, isWhole = main.kind === "sequence";
  const whole = (role) => data(main[role]).map((port) => {
    const chunk = isWhole ? port : overChunks(port, hop, role === "outputs");
    return wholePort(chunk, step?.[role].find(({ name }) => name === port.name), hop);
  });
  const inputs = whole("inputs"), outputs = whole("outputs");
  const hops = (role) => Math.max(0, ...outputs.map((port) => Math.ceil(port[role] / port.rate)));
  const constant = (axis) => Object.values(graphs).flatMap((graph) => [...graph.inputs, ...graph.outputs])
    .flatMap((port) => port.shape.filter((size, at) => port.axes[at] === axis && typeof size === "number"))[0];
  const tail = inputs.some(({ name }) => Object.hasOwn(main.padding, name)) ? hops("tail") : 0;
  return {
    ...main, graphs, ports: { inputs, outputs }, undefined: hops("delay"), tail,
    inHops: hop > 1 || [...outputs].some((port) => port.delay || port.tail),
    stepInputs: step ? data(step.inputs) : inputs.map((port) => ofOneStep(port, hop)),
    dataInputs: Object.fromEntries(Object.entries(graphs).map(([kind, graph]) => [kind, data(graph.inputs)])),
    batch: constant("batch"), size: isWhole ? constant("sequence") : undefined,
    limited: main.states.filter(({ port }) => port.limit !== null),
  };
}

/** A loaded artifact; `open` returns it. */
export class Model {
  #ort;
  #contract;
  #sessions;
  #golden;
  #isClosed = false;

  constructor(ort, contract, sessions, provider, golden) {
    this.#ort = ort;
    this.#contract = contract;
    this.#sessions = sessions;
    this.#golden = golden;
    this.provider = provider;
    this.hop = contract.hop;
    this.carries = contract.carry;
    this.symbols = contract.vocabulary?.symbols ?? null;
    this.states = contract.states.map(({ input }) => input);
  }

  /** The inputs of a graph, `sequence` or `step`, states included; none without the graph. */
  inputs(graph) {
    return (this.#contract.graphs[graph]?.inputs ?? []).map(publicPort);
  }

  /** Its outputs. */
  outputs(graph) {
    return (this.#contract.graphs[graph]?.outputs ?? []).map(publicPort);
  }

  /** The entry `edgernn.KEY` of the graphs' metadata, as `sample_rate`; null without it. */
  metadata(key) {
    const { graphs } = this.#contract;
    return graphs.sequence?.metadata.get(key) ?? graphs.step?.metadata.get(key) ?? null;
  }

  #vocabulary() {
    return this.#contract.vocabulary
      ?? fail("input", "The model has no vocabulary. Export it with `--vocabulary`, or feed ids.");
  }

  /** Return the ids of a text. */
  encode(text) {
    return this.#vocabulary().encode(String(text));
  }

  /** Return the text of ids; padding is left out. */
  decode(ids) {
    return this.#vocabulary().decode(ids);
  }

  /** Open a stream: one running state for `batch` sequences side by side. */
  stream(batch = 1) {
    return withMemory(() => new Stream(this.#ort, this.#contract, this.#sessions, batch));
  }

  /** Replay the golden run whole, by chunks, by steps, and by steps without the state. */
  async check(golden = this.#golden) {
    if (!golden) fail("input", "There is no golden run beside the model. Give the folder that has it.");
    const read = typeof golden === "object" && !(golden instanceof URL)
      ? async (name) => golden[name.replace(/\.npy$/, "")] : reader(golden);
    return replay(this, this.#contract, await goldenArrays(this.#contract, read));
  }

  /** Free the sessions; the streams of the model run no more. */
  async close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all(Object.values(this.#sessions).map((session) => session.release()));
  }
}

/** Return what a function returns; an array that is too large is an error of kind memory. */
function withMemory(work) {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return fail("memory", "There is no memory for this call. Free some, or take a smaller batch or chunk.", error);
  }
}

const publicPort = ({ name, dtype, shape, axes, limit, delay, tail, isState, isLengths }) =>
  ({ name, dtype, shape: [...shape], axes: [...axes], limit, delay, tail, isState, isLengths });

/* ---- Streams ------------------------------------------------------------------------------- */

const CHUNK = Symbol("chunk");

/** One running state of a model; `Model.stream` returns it. */
export class Stream {
  #ort;
  #contract;
  #sessions;
  #states; // name of a state's input → its tensor
  #hops = 0;
  #definedAfter; // hops; the outputs of those before have steps that are not defined
  #mostHops = Infinity;
  #rest = null; // name of an input → the steps that fill no hop yet
  #finished = false;
  #busy = false;
  #feeds; // of a step: the tensors that every call reuses
  #quick = null; // how a step's inputs are copied; null where they take every check

  constructor(ort, contract, sessions, batch) {
    const most = contract.most.batch ?? Infinity;
    if (!Number.isInteger(batch) || batch < 1) {
      fail("input", `\`batch\` is ${batch}; a stream runs at least 1 sequence. Give 1 or more.`);
    }
    if (batch > most) fail("input", `\`batch\` is ${batch}; the model takes at most ${most} sequences at once. `
      + "Give fewer.");
    if (batch !== (contract.batch ?? batch)) {
      fail("input", `\`batch\` is ${batch}, but this model was exported for a batch of ${contract.batch} `
        + "only. Run that many sequences at a time.");
    }
    this.#ort = ort;
    this.#contract = contract;
    this.#sessions = sessions;
    this.batch = batch;
    this.#prepareStep();
    this.reset();
  }

  /** The steps that were run since the stream was opened or reset. */
  get steps() {
    return this.#hops * this.#contract.hop;
  }

  /** The steps that are kept until they fill a hop. */
  get rest() {
    return restSteps(this.#contract, this.#rest);
  }

  /** Run one step, or one hop where the model takes several steps at a time. */
  async step(inputs) {
    if (this.#busy || this.#hops < this.#definedAfter || !(this.#hops < this.#mostHops)
      || this.#rest || !this.#quick || !this.#put(inputs)) {
      return this.#alone(() => this.#stepWithChecks(inputs));
    }
    this.#busy = true;
    try {
      const results = await this.#run("step", this.#feeds);
      const outputs = {};
      for (const name of this.#quick.outputs) outputs[name] = results[name];
      for (const { input, output } of this.#contract.states) this.#feeds[input] = results[output];
      this.#states = this.#feeds;
      this.#hops += 1;
      return outputs;
    } finally {
      this.#busy = false;
    }
  }

  /** Run a chunk of any number of steps, exactly as the same steps one by one. */
  async feed(inputs) {
    return this[CHUNK](inputs, this.#contract.carry);
  }

  /** The same, also where the state does not go from one chunk to the next. */
  async [CHUNK](inputs, carry = true) {
    return this.#alone(async () => {
      const { divisible, most, least } = this.#contract;
      if (!carry) this.#checkCarry();
      const bounds = (sizes) => divisible ? { ...sizes, sequence: undefined } : sizes;
      const { arrays, steps } = checkInputs(this.#contract.ports.inputs, inputs, this.batch,
        this.#contract, { graph: "sequence graph", most: bounds(most), least: bounds(least) });
      const next = await this.#feedArrays(this.#now, arrays, steps);
      this.#commit(next);
      return this.#tensors(next.outputs);
    });
  }

  /** End the sequence, and return the outputs that come only then. */
  async finish(inputs = {}) {
    return this.#alone(async () => {
      this.#checkCarry();
      const outputs = await this.#tails(this.#now, inputs);
      this.#finished = true;
      this.#mostHops = 0;
      return this.#tensors(outputs);
    });
  }

  /** Run whole sequences from the initial state to their end; the stream is reset. */
  async run(inputs) {
    return this.#alone(async () => {
      const contract = this.#contract, { inHops, hop } = contract;
      const inParts = inHops || !contract.graphs.sequence || contract.limited.length > 0;
      const ports = inParts ? contract.ports.inputs
        : contract.ports.inputs.map((port) => ({ ...port, shape: port.dims }));
      const { arrays, steps } = checkInputs(ports, inputs, this.batch, contract,
        { graph: "sequence graph", most: contract.most, least: contract.least });
      if (steps < hop) {
        fail("input", `The sequence has ${plural(steps)}; the model takes hops of ${hop} steps. Give `
          + "at least one hop, or feed a stream: stream.feed(inputs).");
      }
      const start = this.#start();
      let outputs;
      if (inParts) {
        const end = await this.#feedArrays(start, arrays, steps);
        const steady = contract.ports.inputs.filter(({ axis, isLengths }) => axis < 0 && !isLengths);
        const last = await this.#tails({ ...end, rest: null },
          Object.fromEntries(steady.map(({ name }) => [name, arrays[name]])));
        outputs = joined(contract, [end.outputs, last], this.batch);
      } else {
        outputs = (await this.#runGraph("sequence", arrays, start.states)).outputs;
      }
      this.#commit(start);
      return this.#tensors(outputs);
    });
  }

  /** Return to the initial state; steps that are kept for a hop are dropped. */
  reset() {
    this.#checkIdle();
    this.#commit(this.#start());
  }

  /** Return the current value of a state, a copy, by the name of its input. */
  state(name) {
    this.#checkIdle();
    this.#statePort(name);
    const { type, data, dims } = this.#states[name];
    return new this.#ort.Tensor(type, data.slice(), dims);
  }

  /** Set a state by the name of its input. */
  setState(name, value) {
    this.#checkIdle();
    const { port } = this.#statePort(name);
    const tensor = this.#checkedState(port, arrayFor(port, value, "state"));
    this.#commit({ ...this.#now, states: { ...this.#now.states, [name]: tensor } });
  }

  /** Return all that the stream needs to go on from here, as bytes that may be stored. */
  snapshot() {
    this.#checkIdle();
    const { family, states } = this.#contract;
    const parts = [
      ...states.map(({ input }) => this.#states[input]),
      ...Object.values(this.#rest ?? {}),
    ].map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const header = new TextEncoder().encode(JSON.stringify({
      family, batch: this.batch, hops: this.#hops, defined: this.#definedAfter,
      rest: Object.values(this.#rest ?? {}).map(({ dims }) => dims),
    }));
    const size = parts.reduce((sum, part) => sum + part.length, 12 + header.length);
    const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
    bytes.set(header, 12);
    let at = 12 + header.length;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    view.setUint32(0, SNAPSHOT);
    view.setUint32(4, header.length);
    view.setUint32(8, checksum(bytes.subarray(12)));
    return bytes;
  }

  /** Continue from a snapshot of a stream of the same artifact and batch. */
  restore(snapshot) {
    this.#checkIdle();
    const contract = this.#contract;
    const unfit = (reason) => fail("state", `The snapshot does not fit: ${reason}. Restore what snapshot() `
      + "returned for a stream of this artifact and batch.");
    if (!(snapshot instanceof Uint8Array) || snapshot.length < 12) unfit("it is too short");
    const bytes = snapshot.slice(), view = new DataView(bytes.buffer), size = 12 + view.getUint32(4);
    if (view.getUint32(0) !== SNAPSHOT || size > bytes.length
      || view.getUint32(8) !== checksum(bytes.subarray(12))) unfit("it is damaged");
    const { family, batch, hops, defined, rest } = parseObject(bytes.subarray(12, size));
    if (family !== contract.family) unfit("it is of another artifact");
    if (batch !== this.batch) unfit(`it is of a batch of ${batch}, not ${this.batch}`);
    const kept = rest?.length ? stepInputs(contract) : [];
    const fits = ({ shape, axis }, dims) => Array.isArray(dims) && dims.length === shape.length
      && dims.every((one, at) => Number.isSafeInteger(one) && one > 0
        && (at === axis || one === (evaluate(shape[at], { batch }) ?? one)))
      && dims[axis] === rest[0][kept[0].axis] && dims[axis] < contract.hop;
    if (![hops, defined].every(Number.isSafeInteger) || rest?.length !== kept.length
      || !kept.every((port, place) => fits(port, rest[place]))) {
      unfit("its counts are not those of a stream");
    }
    let at = size;
    const read = (dtype, dims) => {
      const array = arrayOf(dtype), length = product(dims) * array.BYTES_PER_ELEMENT;
      if (at + length > bytes.length) unfit("it is too short");
      const data = new array(bytes.slice(at, at + length).buffer);
      at += length;
      return { data, dims };
    };
    const states = Object.fromEntries(contract.states.map(({ input, port }) =>
      [input, this.#checkedState(port, read(port.dtype, this.#dims(port)))]));
    const left = kept.map((port, place) => [port.name, read(port.dtype, rest[place])]);
    if (left.some(([, { data }], place) => !areFinite(kept[place].dtype, data))) {
      unfit("what it keeps of an input is not finite");
    }
    if (at !== bytes.length) unfit("it is too long");
    this.#commit({ states, hops, definedAfter: defined,
      rest: left.length ? Object.fromEntries(left) : null });
  }

  /* -- What calls share -- */

  get #now() {
    return {
      states: this.#states, hops: this.#hops, definedAfter: this.#definedAfter, rest: this.#rest,
      finished: this.#finished,
    };
  }

  /** Return the initial state of a sequence. */
  #start() {
    const states = Object.fromEntries(this.#contract.states.map(({ input, port, initial }) => {
      const dims = this.#dims(port), data = new (arrayOf(port.dtype))(product(dims));
      if (initial) repeat(initial, data, dims);
      return [input, new this.#ort.Tensor(port.dtype, data, dims)];
    }));
    return { states, hops: 0, definedAfter: this.#contract.undefined, rest: null, finished: false };
  }

  /** Continue from what a call has left. */
  #commit({ states, hops, definedAfter, rest }) {
    const { limited } = this.#contract;
    const left = limited.map(({ input, port }) => port.limit - most(states[input].data));
    for (const { input } of this.#contract.states) this.#feeds[input] = states[input];
    this.#states = this.#feeds;
    this.#hops = hops;
    this.#definedAfter = definedAfter;
    this.#rest = rest;
    this.#finished = false;
    this.#mostHops = hops + Math.min(Infinity, ...left);
  }

  #dims(port, steps = 0) {
    return port.shape.map((size) => evaluate(size, { batch: this.batch, sequence: steps }) ?? 0);
  }

  #checkIdle() {
    if (this.#busy) {
      fail("input", "A call of this stream has not ended yet. Await it before the next, or open "
        + "another stream.");
    }
  }

  async #alone(work) {
    this.#checkIdle();
    this.#busy = true;
    try {
      return await work();
    } catch (error) {
      return withMemory(() => { throw error; });
    } finally {
      this.#busy = false;
    }
  }

  #checkCarry() {
    if (this.#contract.carry) return;
    fail("input", "The model cannot run as a stream: its state cannot be carried from one chunk to the "
      + "next. Give it whole sequences: stream.run(inputs).");
  }

  /** Check that a sequence takes more hops. */
  #checkRoom({ states, finished }, hops) {
    if (finished) {
      fail("input", "The stream has finished. Start a new sequence with stream.reset(), or continue from a "
        + "snapshot with stream.restore(snapshot).");
    }
    for (const { input, port } of this.#contract.limited) {
      const left = port.limit - most(states[input].data), unit = this.#contract.hop > 1 ? "hop" : "step";
      if (hops > left) {
        fail("input", `State \`${input}\` counts the ${unit}s of a sequence up to ${port.limit}, the `
          + `end of a table of the model; it has counted ${port.limit - left}, and ${hops} more came. `
          + "Start a new sequence with stream.reset().");
      }
    }
  }

  #statePort(name) {
    return this.#contract.states.find(({ input }) => input === name)
      ?? fail("state", `\`${name}\` is not a state of this model; its states are `
        + `${this.#contract.states.map(({ input }) => `\`${input}\``).join(", ") || "none"}. Give one of them.`);
  }

  #checkedState(port, { data, dims }) {
    const expected = this.#dims(port), found = dims ?? (data.length === product(expected) ? expected : [data.length]);
    if (found.join() !== expected.join() || data.length !== product(expected)) {
      fail("state", `State \`${port.name}\` must have shape ${shapeText(expected)} for batch `
        + `${this.batch}; it came with shape ${shapeText(found)}. Give that shape.`);
    }
    if (!areFinite(port.dtype, data)) {
      fail("state", `State \`${port.name}\` has values that are NaN or infinite; a recurrence never `
        + "recovers from them. Give a finite state, or reset.");
    }
    return new this.#ort.Tensor(port.dtype, data, expected);
  }

  async #run(kind, feeds) {
    try {
      return await this.#sessions[kind].run(feeds);
    } catch (error) {
      return fail("provider", `ONNX Runtime failed in the ${kind} graph: ${error.message}`, error);
    }
  }

  /** Run a graph; return its outputs by name, and the states after it. */
  async #runGraph(kind, arrays, before) {
    const { dataInputs, graphs, states } = this.#contract, feeds = {};
    for (const { name, dtype } of dataInputs[kind]) {
      feeds[name] = new this.#ort.Tensor(dtype, arrays[name].data, arrays[name].dims);
    }
    for (const { input } of states) feeds[input] = before[input];
    const results = await this.#run(kind, feeds);
    const after = Object.fromEntries(states.map(({ input, output }) => [input, results[output]]));
    const outputs = {};
    for (const { name, isState } of graphs[kind].outputs) if (!isState) outputs[name] = results[name];
    return { outputs, states: after };
  }

  /** Run whole hops in as many calls as that takes. */
  async #runHops(arrays, hops, before) {
    const contract = this.#contract, parts = [], { inputs, outputs } = contract.ports;
    let states = before;
    for (const [kind, start, stop] of callsOf(contract, hops * contract.hop, arrays)) {
      const part = {};
      for (const port of inputs) {
        let array = arrays[port.name];
        if (!array) continue;
        if (port.isLengths && stop - start < hops * contract.hop) {
          array = filled(port.dtype, array.dims, stop - start);
        } else if (port.axis >= 0 && stop - start < hops * contract.hop) {
          array = cut(array, port.axis, start, stop);
        }
        const squeeze = kind === "step" && array.dims.length !== port.stepRank;
        part[port.name] = squeeze ? { data: array.data, dims: replaced(array.dims, port.axis) } : array;
      }
      const found = await this.#runGraph(kind, part, states);
      ({ states } = found);
      for (const port of kind === "step" ? outputs : []) {
        found.outputs[port.name] = asChunk(port, found.outputs[port.name]);
      }
      parts.push(found.outputs);
    }
    return { outputs: joined(contract, parts, this.batch), states };
  }

  /** Run the whole hops of what is kept and a checked chunk; return what a call leaves. */
  async #feedArrays(before, arrays, steps) {
    const contract = this.#contract, { hop } = contract;
    const { whole, hops, rest } = splitHops(contract, before.rest, arrays, steps);
    this.#checkRoom(before, hops);
    if (!hops) return { ...before, rest, outputs: this.#empty() };
    const found = await this.#runHops(whole, hops, before.states);
    const outputs = this.#defined(found.outputs, before, hops, (port) => port.rate * hops);
    return { ...before, states: found.states, hops: before.hops + hops, rest, outputs };
  }

  /** Run the padding after the end, and return the tails. */
  async #tails(before, inputs) {
    const contract = this.#contract, { tail, hop } = contract;
    this.#checkRoom(before, 0);
    if (!tail) return this.#empty();
    const padding = Object.fromEntries(stepInputs(contract).map((port) =>
      [port.name, filled(port.dtype, this.#dims(port, tail * hop), contract.padding[port.name])]));
    const { arrays } = checkInputs(contract.ports.inputs, { ...padding, ...inputs }, this.batch, contract,
      { graph: "sequence graph", most: {}, least: {} });
    const found = await this.#runHops(arrays, tail, before.states);
    const outputs = this.#defined(found.outputs, before, tail, (port) => port.tail);
    for (const port of contract.ports.outputs) if (port.axis < 0 && !port.tail) outputs[port.name] = null;
    return outputs;
  }

  /** Return outputs without the steps that are not defined, up to the step `stop(port)`. */
  #defined(outputs, { hops, definedAfter }, ran, stop) {
    const contract = this.#contract, age = hops - definedAfter + contract.undefined;
    return Object.fromEntries(contract.ports.outputs.map((port) => {
      const array = outputs[port.name], start = Math.max(port.delay - port.rate * age, 0);
      if (port.axis < 0) return [port.name, age + ran <= port.delay ? null : array];
      const end = Math.max(start, stop(port));
      if (!start && end === port.rate * ran) return [port.name, array];
      return [port.name, takeSteps(port, array, start, end, this.batch)];
    }));
  }

  /** Return the outputs of no hop. */
  #empty() {
    return Object.fromEntries(this.#contract.ports.outputs.map((port) => {
      if (port.axis < 0) return [port.name, null];
      const dims = this.#dims(port).map((size, axis) => axis === port.axis ? 0 : size);
      return [port.name, { data: new (arrayOf(port.dtype))(0), dims }];
    }));
  }

  /** Return arrays as tensors. */
  #tensors(outputs) {
    return Object.fromEntries(this.#contract.ports.outputs.map(({ name, dtype }) => {
      const array = outputs[name];
      const done = array === null || array instanceof this.#ort.Tensor;
      return [name, done ? array : new this.#ort.Tensor(dtype, array.data, array.dims)];
    }));
  }

  /* -- Steps -- */

  /** Make the tensors that each step reuses, where the batch alone determines their shapes. */
  #prepareStep() {
    const { graphs, dataInputs, ports } = this.#contract;
    this.#feeds = {};
    if (!graphs.step) return;
    const shapes = dataInputs.step.map((port) => port.shape.map((size) => evaluate(size, { batch: this.batch })));
    if (shapes.flat().includes(null)) return;
    const inputs = dataInputs.step.map((port, place) => {
      const buffer = new (arrayOf(port.dtype))(product(shapes[place]));
      this.#feeds[port.name] = new this.#ort.Tensor(port.dtype, buffer, shapes[place]);
      return { ...port, buffer, dims: shapes[place], array: buffer.constructor, size: buffer.length };
    });
    const names = new Set(inputs.map(({ name }) => name));
    this.#quick = { inputs, names, only: inputs.length === 1 ? inputs[0] : null,
      outputs: ports.outputs.map(({ name }) => name) };
  }

  /** Copy plain inputs of the right array and size; return false where they take every check. */
  #put(given) {
    const { inputs, only } = this.#quick;
    if (only && given instanceof only.array) return putArray(only, given);
    if (given === null || typeof given !== "object") return false;
    for (const name in given) if (!this.#quick.names.has(name)) return false;
    for (const input of inputs) {
      const value = given[input.name];
      if (!(value instanceof input.array) || !putArray(input, value)) return false;
    }
    return true;
  }

  async #stepWithChecks(given) {
    const contract = this.#contract, { hop, graphs } = contract, ports = contract.stepInputs;
    this.#checkCarry();
    this.#checkRoom(this.#now, 1);
    if (this.#rest) {
      fail("input", `The stream keeps ${plural(this.rest)} from \`feed\`, which come before this hop. Feed `
        + "it as well, or start a new sequence with stream.reset().");
    }
    const without = (sizes) => ({ ...sizes, sequence: undefined });
    const { arrays } = checkInputs(ports, given, this.batch, contract,
      { graph: "step graph", most: without(contract.most), least: without(contract.least) });
    const now = this.#now, age = now.hops - now.definedAfter + contract.undefined;
    const found = graphs.step ? await this.#runGraph("step", arrays, now.states)
      : await this.#stepOfSequence(arrays, now.states);
    for (const port of contract.ports.outputs) {
      const array = found.outputs[port.name], left = Math.max(port.delay - port.rate * age, 0);
      if (!left) continue;
      if (port.rate === 1) found.outputs[port.name] = null;
      else found.outputs[port.name] = takeSteps(port, array, Math.min(left, port.rate), port.rate, this.batch);
    }
    this.#commit({ ...now, states: found.states, hops: now.hops + 1 });
    return this.#tensors(found.outputs);
  }

  /** Run one hop through the sequence graph, in the shapes of a step. */
  async #stepOfSequence(arrays, states) {
    const { hop, size, least, ports } = this.#contract;
    const only = size ?? Math.max(hop, least.sequence ?? hop);
    if (only !== hop) {
      fail("input", `The model has no step graph, and its sequence graph takes ${size ? "" : "at least "}`
        + `${plural(only)} at a time. Feed it chunks: stream.feed(inputs).`);
    }
    const chunk = {};
    for (const { name, axis } of ports.inputs) {
      const { data, dims } = arrays[name];
      const missing = hop === 1 && axis >= 0;
      chunk[name] = { data, dims: missing ? [...dims.slice(0, axis), 1, ...dims.slice(axis)] : dims };
    }
    const found = await this.#runGraph("sequence", chunk, states);
    for (const { name, axis, flattened } of ports.outputs) {
      const { data, dims } = found.outputs[name];
      if (axis >= 0 && !flattened && dims[axis] === 1) found.outputs[name] = { data, dims: replaced(dims, axis) };
    }
    return found;
  }
}

function putArray({ buffer, size, limit }, value) {
  if (value.length !== size) return false;
  if (limit !== null) for (let i = 0; i < size; i++) if (value[i] < 0 || value[i] >= limit) return false;
  buffer.set(value);
  return true;
}

/** Return the object that bytes hold as JSON; an empty one where they do not. */
function parseObject(bytes) {
  try {
    return JSON.parse(utf8.decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

const SNAPSHOT = 0x65726e31; // "ern1"

/** Return the 32 bits of FNV-1a. */
function checksum(bytes) {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum >>> 0;
}

const most = (data) => Number(data.reduce((largest, one) => one > largest ? one : largest));
const stepInputs = ({ ports }) => ports.inputs.filter(({ axis }) => axis >= 0);

function restSteps(contract, rest) {
  return rest ? Object.entries(rest).map(([name, { dims }]) =>
    dims[contract.ports.inputs.find((port) => port.name === name).axis])[0] : 0;
}

/** Fill the array of all sequences with the initial value of one. */
function repeat(initial, data, dims) {
  if (initial.data.length === data.length) {
    data.set(initial.data);
    return;
  }
  const axis = dims.findIndex((size, at) => size !== initial.dims[at]);
  const one = { data: initial.data, dims: initial.dims };
  data.set(concatenate(Array(dims[axis]).fill(one), axis).data);
}

/** Return the whole hops of a rest and a chunk after it, their number, and the next rest. */
function splitHops(contract, rest, arrays, steps) {
  const { hop, lengths } = contract;
  if (hop === 1) return { whole: arrays, hops: steps, rest: null };
  for (const name of lengths) {
    if (arrays[name].data.some((length) => Number(length) !== steps)) {
      fail("input", `\`${name}\` ends sequences within a chunk of ${plural(steps)}; a model that takes `
        + `hops of ${hop} steps takes sequences of one length. Run each alone.`);
    }
  }
  const total = restSteps(contract, rest) + steps, kept = total % hop, whole = { ...arrays }, left = {};
  for (const { name, axis } of stepInputs(contract)) {
    const others = (dims) => replaced(dims, axis).join();
    if (rest && others(rest[name].dims) !== others(arrays[name].dims)) {
      fail("input", `\`${name}\` has other sizes than the chunk before, of which steps are kept. Give the `
        + "same, or start a new sequence with stream.reset().");
    }
    const joint = rest ? concatenate([rest[name], arrays[name]], axis) : arrays[name];
    whole[name] = cut(joint, axis, 0, total - kept);
    if (kept) left[name] = cut(joint, axis, total - kept, total);
  }
  for (const port of contract.ports.inputs.filter(({ isLengths }) => isLengths)) {
    whole[port.name] = filled(port.dtype, arrays[port.name].dims, total - kept);
  }
  return { whole, hops: (total - kept) / hop, rest: kept ? left : null };
}

/** Return the calls that run so many steps, which are whole hops: [graph, start, stop]. */
function callsOf(contract, steps, arrays) {
  const { hop, size, divisible, graphs, lengths } = contract, most = contract.most.sequence;
  const calls = [];
  const add = (kind, start, stop) => calls.push([kind, start, stop]);
  if (graphs.sequence && size === undefined && most !== undefined && divisible) {
    const hops = steps / hop, count = Math.ceil(hops / Math.max(Math.floor(most / hop), 1));
    const end = (place) => Math.floor((hops * place) / count) * hop;
    for (let place = 0; place < count; place++) add("sequence", end(place), end(place + 1));
  } else {
    const whole = graphs.sequence ? steps - (steps % (size ?? steps)) : 0;
    if (whole < steps && !graphs.step) {
      fail("input", `The chunk has ${plural(steps)}, but the sequence graph takes ${size} at a time, and `
        + `there is no step graph for the rest. Feed a multiple of ${plural(size)}, or export the model `
        + "without a constant `sequence`.");
    }
    for (let start = 0; start < whole; start += size ?? steps) add("sequence", start, start + (size ?? steps));
    for (let start = whole; start < steps; start += hop) add("step", start, start + hop);
  }
  for (const name of calls.length > 1 ? lengths : []) {
    if (arrays[name]?.data.some((length) => Number(length) !== steps)) {
      fail("input", `\`${name}\` ends sequences within a chunk of ${plural(steps)}, which is run in parts `
        + `of ${size ?? most}. Feed ${size ?? most} steps at a time.`);
    }
  }
  return calls;
}

/** Join the outputs of chunks; null where an output has none. */
function joined(contract, parts, batch) {
  return Object.fromEntries(contract.ports.outputs.map((port) => {
    const arrays = parts.map((part) => part[port.name]).filter((array) => array !== null);
    return [port.name, arrays.length ? joinSteps(port, arrays, batch) : null];
  }));
}

/* ---- The golden run ------------------------------------------------------------------------ */

/** Read an array of a .npy file of version 1.0. */
function readNpy(bytes, port, subject) {
  const refuse = (reason) => fail("contract", `${subject} ${reason}. Export the model again.`);
  if (!bytes) refuse("of the golden run is missing");
  const start = 10 + bytes[8] + 256 * bytes[9];
  const header = String.fromCharCode(...bytes.subarray(0, Math.min(start, 4096)));
  const [, descr, order, shape] = header.match(
    /^\x93NUMPY\x01\0..\{'descr': '(.*?)', 'fortran_order': (\w+), 'shape': \((.*?)\), \}/s) ?? [];
  const dims = shape?.split(",").filter((size) => size.trim()).map(Number) ?? [];
  const array = arrayOf(port.dtype), size = product(dims) * array.BYTES_PER_ELEMENT;
  if (descr?.slice(1) !== DTYPES[port.dtype][1] || order !== "False" || start + size !== bytes.length) {
    refuse(`is not an array of ${port.dtype}`);
  }
  return { data: new array(bytes.slice(start).buffer), dims };
}

/** Read the arrays of the golden run. */
async function goldenArrays(contract, read) {
  const { ports, states, graphs } = contract;
  const { outputs } = graphs.sequence ?? graphs.step;
  const load = async (port) => [port.name, readNpy(await read(`${port.name}.npy`), port, `\`${port.name}.npy\``)];
  const [inputs, initial, final, results] = await Promise.all([
    ports.inputs, states.map(({ port }) => port),
    states.map(({ output }) => outputs.find(({ name }) => name === output)), ports.outputs,
  ].map(async (group) => Object.fromEntries(await Promise.all(group.map(load)))));
  checkGolden([
    ...ports.inputs.map((port) => [port, inputs[port.name]]),
    ...states.map(({ port }) => [port, initial[port.name]]),
    ...states.map(({ port, output }) => [port, final[output]]),
    ...ports.outputs.map((port) => [port, results[port.name]]),
  ]);
  const sizes = (group, arrays, name) => group.flatMap((port) =>
    port.axes.flatMap((axis, at) => axis === name ? [arrays[port.name].dims[at]] : []));
  const batches = [...sizes(states.map(({ port }) => port), initial, "batch"),
    ...sizes(ports.inputs, inputs, "batch"), 1];
  const steps = Math.max(1, ...stepInputs(contract).map(({ name, axis }) => inputs[name].dims[axis]));
  return { inputs, initial, final, outputs: results, batch: batches[0], steps };
}

/** Check that the arrays of the golden run have the shapes of their ports, and agree on sizes. */
function checkGolden(pairs) {
  const symbols = {};
  for (const [port, { dims }] of pairs) {
    const isLast = dims.length < port.shape.length && port.axis >= 0; // of the last step alone
    const shape = isLast ? replaced(port.shape, port.axis) : port.shape;
    const fits = dims.length === shape.length && dims.every((size, at) => {
      const expected = evaluate(shape[at], symbols);
      if (expected === null && isName(shape[at])) symbols[shape[at]] = size;
      return size > 0 && (expected ?? size) === size;
    });
    if (!fits) {
      fail("contract", `\`${port.name}.npy\` has the shape ${shapeText(dims)}, which is not \`${portText(port)}\`. `
        + "Give the golden run of this model, and the whole artifact.");
    }
  }
}

/** Return the largest difference, divided by the largest number where that is above 1. */
function difference(type, got, expected) {
  if (!got || got.dims.join() !== expected.dims.join()) return Infinity;
  const found = numbers({ type, data: got.data }), wanted = numbers({ type, data: expected.data });
  let largest = 0, scale = 1;
  for (let i = 0; i < wanted.length; i++) {
    const a = Number(found[i]), b = Number(wanted[i]), size = Math.abs(b);
    if (size > scale && size < Infinity) scale = size;
    if (found[i] === wanted[i]) continue;
    const gap = Math.abs(a - b);
    largest = gap <= largest ? largest : Number.isFinite(gap) ? gap : Infinity;
  }
  return largest / scale;
}

/** The golden run, replayed through a stream. */
class Replay {
  constructor(model, contract, golden) {
    Object.assign(this, { contract, golden, stream: model.stream(golden.batch) });
  }

  /** Set the states to those from which the run was recorded. */
  restart = () => {
    for (const { input } of this.contract.states) this.stream.setState(input, this.golden.initial[input]);
  };

  /** Return the recorded inputs of some steps. */
  #part(start, stop) {
    return Object.fromEntries(this.contract.ports.inputs.filter(({ isLengths }) => !isLengths)
      .map(({ name, axis }) => {
        const array = this.golden.inputs[name];
        return [name, axis < 0 ? array : cut(array, axis, start, stop)];
      }));
  }

  feed = (start, stop) => this.stream.feed(this.#part(start, stop));

  step = async (start, stop) => {
    const { inputs, outputs } = this.contract.ports, part = this.#part(start, stop);
    for (const { name, axis, stepRank } of inputs) {
      if (part[name] && part[name].dims.length !== stepRank) part[name].dims = replaced(part[name].dims, axis);
    }
    const found = await this.stream.step(part);
    for (const port of outputs) found[port.name] = asChunk(port, found[port.name]);
    return found;
  };

  /** Run the golden run in calls that end at some steps; return the largest difference. */
  async inCalls(ends, call, before = () => {}) {
    const parts = [], { contract, golden, stream } = this;
    stream.reset();
    this.restart();
    let start = 0;
    for (const end of ends) {
      before();
      parts.push(await call(start, end));
      start = end;
    }
    const outputs = joined(contract, parts, golden.batch);
    return Math.max(
      ...contract.ports.outputs.map((port) => difference(port.dtype, ...this.#pair(port, outputs[port.name]))),
      ...contract.states.map(({ input, output, port }) =>
        difference(port.dtype, stream.state(input), golden.final[output])));
  }

  /** Return what came of an output and what was recorded, the steps that are defined. */
  #pair({ axis, delay, rate, ...port }, got) {
    const { steps, outputs, batch } = this.golden, expected = outputs[port.name];
    if (axis >= 0 && got && expected.dims.length < got.dims.length) { // the last step alone
      const { data, dims } = cut(got, axis, got.dims[axis] - 1, got.dims[axis]);
      return [{ data, dims: replaced(dims, axis) }, expected];
    }
    if (!delay || axis < 0) return [got, expected];
    return [got, takeSteps({ axis, ...port }, expected, delay, (steps / this.contract.hop) * rate, batch)];
  }
}

/** Return an output of a step as a chunk of one step has it. */
function asChunk({ axis, shape }, array) {
  if (!array || axis < 0 || array.dims.length === shape.length) return array;
  return { data: array.data, dims: [...array.dims.slice(0, axis), 1, ...array.dims.slice(axis)] };
}

/** Replay the golden run in each way that the model can run. */
async function replay(model, contract, golden) {
  const { hop, size, graphs, carry, divisible, states } = contract, { steps, inputs } = golden;
  const found = { whole: NaN, chunks: NaN, steps: NaN, withoutState: NaN };
  const run = new Replay(model, contract, golden), inParts = carry && divisible;
  const multiples = (length) => Array.from({ length: steps / length }, (_, i) => (i + 1) * length);
  const growing = []; // 1, 2, 3, … hops, and what is left
  for (let end = hop, next = 2; growing.at(-1) !== steps; end += hop * next++) growing.push(Math.min(end, steps));
  const chunks = size === undefined ? growing : multiples(size);
  const takesSteps = graphs.step || (size ?? hop) === hop;
  if (graphs.sequence && (size ?? steps) === steps) {
    found.whole = await run.inCalls([steps], () => run.stream[CHUNK](inputs));
  }
  if (inParts && graphs.sequence) found.chunks = await run.inCalls(chunks, run.feed);
  if (inParts && takesSteps) found.steps = await run.inCalls(multiples(hop), run.step);
  if (inParts && states.length) {
    found.withoutState = await run.inCalls(...(takesSteps ? [multiples(hop), run.step] : [chunks, run.feed]), run.restart);
  }
  return found;
}

/* ---- Opening ------------------------------------------------------------------------------- */

/** Return a function that reads a file of a folder, a path or a URL; null where there is none. */
function reader(folder) {
  const text = String(folder), isUrl = folder instanceof URL || /^[a-z][a-z\d+.-]+:/i.test(text);
  const hasFiles = globalThis.process?.versions?.node || globalThis.Deno;
  if (hasFiles && (!isUrl || text.startsWith("file:"))) {
    return async (name) => {
      const module = "node:fs/promises"; // a name that bundlers for browsers leave alone
      const { readFile } = await import(/* @vite-ignore */ module);
      const file = isUrl ? new URL(encodeURIComponent(name), text.replace(/\/?$/, "/")) : `${text}/${name}`;
      return readFile(file).then((bytes) => new Uint8Array(bytes), (error) =>
        error.code === "ENOENT" || error.code === "ENOTDIR" ? null
          : fail("contract", `\`${file}\` cannot be read: ${error.message}.`, error));
    };
  }
  return async (name) => {
    const url = new URL(encodeURIComponent(name), new URL(text.replace(/\/?$/, "/"), globalThis.document?.baseURI));
    const response = await fetch(url);
    if (response.status === 404) return null;
    if (!response.ok) fail("contract", `\`${url}\` cannot be read: ${response.status} ${response.statusText}.`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

/** Return what a source holds: graphs, the contract.json, weights, and where the golden run is. */
async function readSource(source) {
  const isPlace = typeof source === "string" || source instanceof URL;
  if (!isPlace && (source === null || typeof source !== "object")) {
    fail("input", "Give the folder of an artifact, or { sequence, step } with their bytes.");
  }
  if (!isPlace) {
    const { sequence, step, contract, weights = {} } = source;
    const graphs = [["sequence", sequence], ["step", step]].filter(([, bytes]) => bytes)
      .map(([kind, bytes]) => ({ file: `${kind}.onnx`, subject: `The ${kind} graph`, bytes: asBytes(bytes) }));
    return { graphs, contract, weights: async (name) => weights[name], golden: null };
  }
  const text = String(source).replace(/\/+$/, ""), [, single] = text.match(/([^/\\]*\.onnx)$/) ?? [];
  const folder = single ? text.slice(0, -single.length - 1) || (text.startsWith("/") ? "/" : ".") : text;
  const read = reader(folder), contract = await read("contract.json"), graphs = [];
  for (const file of single ? [single] : ["sequence.onnx", "step.onnx"]) {
    const bytes = await read(file);
    if (bytes) graphs.push({ file, subject: `\`${folder}/${file}\``, bytes });
  }
  if (!graphs.length) {
    fail("contract", single ? `\`${text}\` does not exist. Give a graph of an artifact, or its folder.`
      : `\`${text}\` has neither sequence.onnx nor step.onnx. Give the folder of an artifact, or one of `
        + "its graphs.");
  }
  return { graphs, contract, weights: read, golden: `${folder}/golden` };
}

const asBytes = (bytes) => bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);

/** Compare graphs with the contract.json of the artifact, and read the weights beside them. */
async function checkDigests({ graphs, contract, weights }) {
  if (!contract) return [];
  const broken = (reason, cause) =>
    fail("contract", `\`contract.json\` ${reason}. Export the model again.`, cause);
  let facts = contract;
  try {
    if (typeof contract !== "string" && contract.byteLength !== undefined) facts = utf8.decode(contract);
    if (typeof facts === "string") facts = JSON.parse(facts);
  } catch (error) {
    broken(`cannot be read: ${error.message}`, error);
  }
  if (facts?.contract !== "1") broken(`is of contract version ${facts?.contract}; this edgernn reads version 1`);
  if (typeof facts.sha256 !== "object" || facts.sha256 === null) broken("has no `sha256`");
  const external = [];
  for (const path of Object.keys(facts.sha256).filter((name) => !/\.onnx$|\//.test(name))) {
    external.push({ path, subject: `\`${path}\``, file: path,
      data: asBytes(await weights(path) ?? broken(`names \`${path}\`, which is missing`)) });
  }
  for (const { file, subject, bytes, data, family } of [...graphs, ...external]) {
    if (family !== undefined && family !== facts.family) {
      fail("contract", `${subject} is of family ${family}, \`contract.json\` of ${facts.family}. Graphs of `
        + "two exports must not be mixed; copy the whole folder.");
    }
    if (!globalThis.crypto?.subtle) continue; // a page that was not loaded over https has none
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes ?? data));
    const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const wanted = Object.hasOwn(facts.sha256, file) ? facts.sha256[file] : "none";
    if (found !== wanted) {
      fail("contract", `${subject} was changed after the export: its SHA-256 is ${found.slice(0, 12)}…, the `
        + `contract has ${String(wanted).slice(0, 12)}…. Export the model again.`);
    }
  }
  return external.map(({ path, data }) => ({ path, data }));
}

/** Return the name of a provider for ONNX Runtime; `cpu` is WebAssembly in a browser. */
function providerOf(ort, provider) {
  const isWeb = !("listSupportedBackends" in ort), name = provider?.name ?? provider;
  const known = isWeb ? ["cpu", "webgpu", "webnn"] : ort.listSupportedBackends().map((one) => one.name);
  if (!known.includes(name)) {
    fail("provider", `\`${name}\` does not run here: this ONNX Runtime has ${known.join(", ")}. Give one of `
      + "them, or a build that has it.");
  }
  return { isWeb, name, option: isWeb && name === "cpu" ? "wasm" : provider };
}

const ON_THE_CPU = ["RNN", "Scan", "Loop"]; // what WebGPU leaves to the CPU without a word

/** Check that a provider runs the recurrent nodes of a graph itself. */
function checkNodes(provider, { subject, operators }) {
  const left = provider === "webgpu" ? ON_THE_CPU.filter((operator) => operators.has(operator)) : [];
  if (left.length) {
    fail("provider", `${subject} has the operator ${left.join(", ")}, which provider \`webgpu\` leaves to the CPU. `
      + "Open it with provider `cpu`, or its step graph alone.");
  }
}

let lastTurn = Promise.resolve();

/** Run work after all that came before it: on a GPU of a browser, two runs at a time never end. */
function inTurn(work) {
  const turn = lastTurn.then(work);
  lastTurn = turn.catch(() => {});
  return turn;
}

/** Open an artifact; edgernn.d.ts says what each argument is. */
export async function open(ort, source, options = {}) {
  const { provider = "cpu", threads = 1, sessionOptions = {} } = options;
  const { isWeb, name, option } = providerOf(ort, provider);
  const files = await readSource(source), graphs = {}, sessions = {};
  for (const file of files.graphs) {
    const graph = readGraph(file.bytes, file.subject);
    file.family = graph.family;
    const kind = { "sequence.onnx": "sequence", "step.onnx": "step" }[file.file] ?? graph.kind;
    checkNodes(name, graph);
    graphs[kind] = graph;
    file.kind = kind;
  }
  const contract = join(graphs), externalData = await checkDigests(files);
  if (isWeb && ort.env?.wasm) ort.env.wasm.numThreads = threads;
  for (const { bytes, kind, subject } of files.graphs) {
    try {
      const create = () => ort.InferenceSession.create(bytes, {
        executionProviders: [option], intraOpNumThreads: threads, interOpNumThreads: 1,
        ...(externalData.length ? { externalData } : {}), ...sessionOptions,
      });
      const inTurns = isWeb && name !== "cpu", session = await (inTurns ? inTurn(create) : create());
      sessions[kind] = inTurns
        ? { run: (feeds) => inTurn(() => session.run(feeds)), release: () => session.release() } : session;
    } catch (error) {
      await Promise.all(Object.values(sessions).map((session) => session.release()));
      fail("provider", `${subject} does not run with provider \`${name}\`: ${error.message}`, error);
    }
  }
  return new Model(ort, contract, sessions, name, files.golden);
}
