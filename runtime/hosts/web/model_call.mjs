// How the page calls a model: which method of a stream, with how many steps, in which arrays.

import { layout, reader, stepAxis } from "page/array_layout.mjs";
import { readNpy } from "page/number_files.mjs";

/** Return what a recorded input is: `{ steps, at }`, its axes, and their sizes by name. */
export function recording(bytes, port, graph) {
  const { data, shape } = readNpy(bytes, `golden/${port.name}.npy`);
  const leading = graph === "step" && stepAxis(port.axes) < 0 && shape.length > port.axes.length;
  const axes = leading ? ["sequence", ...port.axes] : port.axes;
  const place = layout(shape, axes);
  const sizes = Object.fromEntries(axes.map((axis, i) => [axis, shape[i]]));
  return { steps: place.steps, width: place.width, at: reader(data, place), axes, shape, sizes };
}

/** Return the data inputs of a graph: neither states nor lengths, which a stream fills itself. */
export function dataInputs(contract, graph) {
  const filled = new Set([...contract.states.map((state) => state.in), ...(contract.lengths ?? [])]);
  return contract.graphs[graph].inputs.filter((port) => !filled.has(port.name));
}

/** Return the data outputs of a graph. */
export function dataOutputs(contract, graph) {
  const states = new Set(contract.states.map((state) => state.out));
  return contract.graphs[graph].outputs.filter((port) => !states.has(port.name));
}

export class ModelCall {
  /** contract: contract.json. sizes: of dynamic axes other than `batch` and `sequence`. */
  constructor(contract, sizes) {
    const { step, sequence } = contract.graphs;
    this.method = !contract.carry ? "run" : step ? "step" : "feed";
    this.graph = this.method === "step" ? "step" : "sequence";
    this.sizes = sizes;
    const constant = dataInputs(contract, this.graph)
      .map((port) => port.shape[stepAxis(port.axes)])
      .find((size) => typeof size === "number");
    this.isWhole = this.method === "run";
    this.steps = this.method === "step" ? contract.hop ?? 1 : constant ?? contract.hop ?? 1;
    this.inputs = dataInputs(contract, this.graph).map((port) => this.#sized(port, this.steps));
    this.batch = Math.max(...this.inputs.map((port) => port.sizes[port.axes.indexOf("batch")] ?? 1));
    this.outputs = dataOutputs(contract, this.graph);
    this.layouts = new Map();
  }

  #sized(port, steps) {
    const size = (axis) => (axis === "batch" ? 1 : axis === "sequence" ? steps : this.sizes[axis] ?? 1);
    const sizes = port.shape.map((one) => (typeof one === "number" ? one : size(one)));
    return { ...port, sizes, ...layout(sizes, port.axes), steps: stepAxis(port.axes) < 0 ? null : steps };
  }

  /** Return the array of each input: at(port, step, column) is each number. */
  pack(at, steps) {
    const ports = steps === this.steps ? this.inputs : this.inputs.map((port) => this.#sized(port, steps));
    return ports.map((port) => {
      const data = Array.from({ length: port.size }, (_, i) => at(port.name, port.step[i], port.column[i]));
      return { name: port.name, dtype: port.dtype, shape: port.sizes, data };
    });
  }

  /** Return the steps, the width and the numbers of an output: at(step, column). */
  unpack(port, { data, dims }) {
    const key = `${port.name} ${dims}`;
    if (!this.layouts.has(key)) this.layouts.set(key, layout(dims, port.axes));
    const place = this.layouts.get(key);
    return { steps: place.steps ?? 1, width: place.width, at: reader(data, place) };
  }
}
