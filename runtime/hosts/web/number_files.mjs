// Sequences of numbers from files: .csv and .npy.

import { numbers } from "edgernn";

import { layout, reader } from "page/array_layout.mjs";

const TYPES = {
  f2: Uint16Array, f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
  i8: BigInt64Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, b1: Uint8Array,
};

/** Read a .npy file: `{ data, shape }`. */
export function readNpy(bytes, name) {
  const fail = (why) => new Error(`\`${name}\` ${why}. Save it with numpy.save.`);
  if (String.fromCharCode(...bytes.slice(0, 6)) !== "\x93NUMPY") throw fail("is not a .npy file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [start, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(bytes.slice(start, start + length));
  const [, order, type] = /'descr':\s*'([<|>=]?)(\w\d)'/.exec(header) ?? [];
  const [, inside] = /'shape':\s*\(([^)]*)\)/.exec(header) ?? [];
  if (order === ">" || !TYPES[type] || inside === undefined || /'fortran_order':\s*True/.test(header)) {
    throw fail("does not hold plain numbers in row-major order");
  }
  const shape = inside.split(",").filter((size) => size.trim()).map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  const body = bytes.slice(start + length, start + length + count * TYPES[type].BYTES_PER_ELEMENT);
  if (body.length !== count * TYPES[type].BYTES_PER_ELEMENT) throw fail("ends too early");
  const data = new TYPES[type](body.buffer);
  return { data: type === "f2" ? numbers({ type: "float16", data }) : data, shape };
}

/** Return the sequence in an array with the axes of a recorded run, or with those but the batch. */
export function sequenceOf({ data, shape }, recorded, port, name) {
  const alone = recorded.axes.filter((axis) => axis !== "batch");
  const axes = shape.length === recorded.axes.length ? recorded.axes : alone;
  const place = layout(shape, axes);
  if (shape.length !== axes.length || place.width !== recorded.width || !place.steps) {
    const expected = recorded.shape.map((size, axis) => recorded.axes[axis] ?? size);
    throw new Error(`\`${name}\` has the shape (${shape.join(", ")}); \`${port}\` takes (${expected.join(", ")}).`);
  }
  const read = reader(data, place);
  return { steps: place.steps, at: (_, t, c) => read(t, c) };
}

/** Return the sequence in the rows of a .csv: one step a line, the ports' numbers in order. */
export function readCsv(text, ports, name) {
  const width = ports.reduce((sum, port) => sum + port.width, 0);
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const rows = lines.map((line) => line.split(/[;,\t]\s*|\s+/).map((cell) => (cell === "" ? NaN : Number(cell))));
  const isHeader = (row, line) => line === 0 && row.every((number) => Number.isNaN(number));
  const steps = [];
  rows.forEach((row, line) => {
    if (lines[line] === "" || isHeader(row, line)) return;
    const shown = `line ${line + 1} of \`${name}\``;
    if (row.length !== width) {
      throw new Error(`${shown} has ${row.length} ${row.length === 1 ? "number" : "numbers"}; a step takes ${width}.`.replace(/^l/, "L"));
    }
    const wrong = row.findIndex((number) => !Number.isFinite(number));
    if (wrong >= 0) throw new Error(`Cell ${wrong + 1} in ${shown} is not a number.`);
    steps.push(row);
  });
  if (steps.length === 0) throw new Error(`\`${name}\` has no numbers. It takes one step a line.`);
  const start = {};
  ports.reduce((sum, port) => ((start[port.name] = sum), sum + port.width), 0);
  return { steps: steps.length, at: (port, t, c) => steps[t][start[port] + c] };
}
