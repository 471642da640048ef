// A heat map of many numbers that moves: the newest step as a band on top, those before it below.

import { fit, short } from "page/line_plot.mjs";

const BAND = 22; // pixels of the newest step
const ROW = 2; // pixels of each step before it
const MOST_ROWS = 200;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Return [red, green, blue] of a color `#rrggbb`. */
const parse = (color) => [1, 3, 5].map((place) => parseInt(color.trim().slice(place, place + 2), 16));

export class StatePicture {
  /** parent: where it is put. label: its text. width: how many numbers a step has. */
  constructor(parent, label, width) {
    const figure = document.createElement("figure");
    figure.className = "heat";
    figure.innerHTML = "<figcaption><span class='port'></span><output></output></figcaption><canvas role='img'></canvas>";
    parent.append(figure);
    [this.canvas, this.range] = [figure.querySelector("canvas"), figure.querySelector("output")];
    figure.querySelector("span").textContent = label;
    this.canvas.setAttribute("aria-label", `Heat map of ${label}, ${width} numbers`);
    this.width = width;
    this.history = Array.from({ length: MOST_ROWS }, () => new Float64Array(width));
    this.pixels = document.createElement("canvas");
    this.clear();
  }

  clear() {
    this.count = 0;
    this.limit = 0;
    this.history.forEach((row) => row.fill(0));
  }

  /** Add a step: at(column) is each number. */
  push(at) {
    const row = this.history[this.count++ % MOST_ROWS];
    for (let column = 0; column < this.width; column++) {
      row[column] = at(column);
      this.limit = Math.max(this.limit, Math.abs(row[column]) || 0);
    }
  }

  draw() {
    const { context, width, height } = fit(this.canvas);
    const style = getComputedStyle(this.canvas);
    const colors = ["--heat-low", "--heat-zero", "--heat-high"].map((name) => parse(style.getPropertyValue(name)));
    const band = still.matches ? height : BAND;
    const rows = Math.min(MOST_ROWS, 1 + Math.max(0, Math.ceil((height - band - 2) / ROW)));
    [this.pixels.width, this.pixels.height] = [this.width, rows];
    const pixels = this.pixels.getContext("2d");
    const image = pixels.createImageData(this.width, rows);
    for (let age = 0; age < rows; age++) this.#paint(image.data, age, colors);
    pixels.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, width, height);
    context.drawImage(this.pixels, 0, 0, this.width, 1, 0, 0, width, band);
    if (rows > 1) context.drawImage(this.pixels, 0, 1, this.width, rows - 1, 0, band + 2, width, (rows - 1) * ROW);
    this.range.textContent = `±${short(this.limit)}`;
  }

  /** Paint the pixels of the step that came `age` steps before the newest. */
  #paint(data, age, [low, zero, high]) {
    const row = age < this.count ? this.history[(this.count - 1 - age) % MOST_ROWS] : null;
    for (let column = 0; column < this.width; column++) {
      const value = row ? Math.max(-1, Math.min(1, row[column] / (this.limit || 1))) : 0;
      const end = value < 0 ? low : high;
      const part = Math.abs(value) ** 0.8;
      const place = 4 * (age * this.width + column);
      for (let channel = 0; channel < 3; channel++) {
        data[place + channel] = zero[channel] + (end[channel] - zero[channel]) * part;
      }
      data[place + 3] = 255;
    }
  }
}

/** A state that is one number, as a count of hops: shown as its text. */
export class StateNumber {
  constructor(parent, label) {
    const figure = document.createElement("figure");
    figure.className = "heat single";
    figure.innerHTML = "<figcaption><span class='port'></span><output></output></figcaption>";
    figure.querySelector("span").textContent = label;
    this.output = figure.querySelector("output");
    parent.append(figure);
    this.clear();
  }

  clear() {
    this.value = null;
  }

  push(at) {
    this.value = at(0);
  }

  draw() {
    this.output.textContent = this.value === null ? "–" : short(this.value);
  }
}
