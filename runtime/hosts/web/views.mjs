// What the page draws of a run: the inputs, the outputs, the states.

import { layout, reader, stepAxis } from "page/array_layout.mjs";
import { LinePlot, MOST_LINES, short } from "page/line_plot.mjs";
import { SoundOutput } from "page/sound_output.mjs";
import { StateNumber, StatePicture } from "page/state_picture.mjs";
import { numbers } from "edgernn";

const MOST_POINTS = 60000;

/** Put a plot with a legend into a parent. */
class LegendPlot {
  constructor(parent, title, { lines, points, names, isPort = true, ...options }) {
    const figure = document.createElement("figure");
    figure.className = "plot";
    figure.innerHTML = "<figcaption></figcaption><canvas role='img'></canvas>";
    const [caption, canvas] = figure.children;
    const swatch = (line) => `<svg viewBox="0 0 18 4" aria-hidden="true" class="line-${line}"><path d="M0 2H18"/></svg>`;
    caption.innerHTML = `<span class="title"></span>${names.map((_, line) => `<span class="key">${swatch(line + 1)}<span></span><output>–</output></span>`).join("")}`;
    caption.firstChild.textContent = title;
    caption.firstChild.classList.toggle("port", isPort);
    this.keys = [...caption.querySelectorAll(".key")];
    this.keys.forEach((key, line) => (key.children[1].textContent = names[line]));
    canvas.setAttribute("aria-label", `Plot of the last steps of ${title}`);
    parent.append(figure);
    const steps = Math.max(16, Math.min(240, Math.floor(MOST_POINTS / points)));
    this.plot = new LinePlot(canvas, { lines, points, steps, ...options });
    this.last = null;
  }

  push(points, at) {
    this.plot.push(points, at);
    if (points) this.last = this.keys.map((_, line) => at(points - 1, line));
  }

  clear() {
    this.plot.clear();
    this.last = null;
  }

  draw() {
    this.plot.draw();
    this.keys.forEach((key, line) => {
      key.lastChild.textContent = this.last && Number.isFinite(this.last[line]) ? short(this.last[line]) : "–";
    });
  }
}

const namesOf = (width) => Array.from({ length: width }, (_, line) => (width === 1 ? "" : String(line)));

/** The data inputs, one plot each. */
export class InputView {
  /** ranges: name of a port → the least range of its axis. fits: whether runs are whole. */
  constructor(parent, ports, { ranges, fits }) {
    this.ports = ports;
    this.plots = ports.map((port) => new LegendPlot(parent, port.name, {
      lines: port.width, points: port.steps ?? 1, names: namesOf(port.width), range: ranges[port.name], fits,
    }));
  }

  push(_, at) {
    this.ports.forEach((port, place) =>
      this.plots[place].push(at.steps ?? port.steps ?? 1, (t, c) => at(port.name, t, c)));
  }

  clear() {
    this.plots.forEach((plot) => plot.clear());
  }

  draw() {
    this.plots.forEach((plot) => plot.draw());
  }
}

/** The data outputs: lines, or a heat map where there are many numbers. */
export class OutputView {
  /**
   * text: the TextInput whose symbols the model scores, or null. rate: samples in a second where
   * the model takes sound, or null: an output with as many samples can be listened to.
   */
  constructor(parent, call, { text, rate }) {
    this.text = text;
    this.chance = text && new LegendPlot(parent, "Probability of the symbol that came", {
      lines: 1, points: 1, names: [""], range: [0, 1], isPort: false,
    });
    this.parts = call.outputs.map((port) => {
      const axis = stepAxis(port.axes);
      const sized = port.shape.map((size) => (typeof size === "number" ? size : 1));
      const points = axis >= 0 && port.axes[axis] === "hop" ? sized[axis] : 1;
      const { width } = layout(sized, port.axes);
      const many = width > MOST_LINES;
      const view = many ? new StatePicture(parent, port.name, width)
        : new LegendPlot(parent, port.name, { lines: width, points, names: namesOf(width), fits: call.isWhole });
      const isSound = rate !== null && points === call.steps && points > 1 && width === 1;
      return { name: port.name, view, many, sound: isSound ? new SoundOutput(parent, rate) : null };
    });
  }

  push(outputs) {
    if (this.chance && this.text.chance !== null) this.chance.push(1, () => this.text.chance);
    for (const { name, view, many, sound } of this.parts) {
      if (!outputs[name]) continue;
      const { steps, at } = outputs[name];
      sound?.push(steps, at);
      if (!many) view.push(steps, at);
      else for (let step = 0; step < steps; step++) view.push((column) => at(step, column));
    }
  }

  #all() {
    return [this.chance, ...this.parts.flatMap(({ view, sound }) => [view, sound])].filter(Boolean);
  }

  clear() {
    this.#all().forEach((view) => view.clear());
  }

  draw() {
    this.#all().forEach((view) => view.draw());
  }
}

/** The states: a heat map for each layer, or a number where there is only one. */
export class StateView {
  constructor(parent, contract, stream) {
    this.stream = stream;
    const graph = contract.graphs.step ?? contract.graphs.sequence;
    const states = contract.carry ? contract.states : [];
    this.rows = states.flatMap((state) => {
      const port = graph.inputs.find(({ name }) => name === state.in);
      const sized = port.shape.map((size) => (typeof size === "number" ? size : 1));
      const { width } = layout(sized, port.axes);
      const layers = port.axes.indexOf("batch") === 1 && sized.length > 2 ? sized[0] : 1;
      return Array.from({ length: layers }, (_, layer) => {
        const label = layers === 1 ? state.name : `${state.name}, layer ${layer + 1}`;
        const isNumber = width === layers;
        const picture = isNumber ? new StateNumber(parent, label) : new StatePicture(parent, label, width / layers);
        return { port, picture, start: (layer * width) / layers };
      });
    });
    if (this.rows.length === 0) parent.textContent = "This model carries no state from step to step.";
  }

  push() {
    const readers = new Map();
    for (const { port, picture, start } of this.rows) {
      if (!readers.has(port.name)) {
        const tensor = this.stream.state(port.name);
        readers.set(port.name, reader(numbers(tensor), layout([...tensor.dims], port.axes)));
      }
      const at = readers.get(port.name);
      picture.push((column) => at(0, start + column));
    }
  }

  clear() {
    this.rows.forEach(({ picture }) => picture.clear());
  }

  draw() {
    this.rows.forEach(({ picture }) => picture.draw());
  }
}
