// A plot of the last steps of some numbers, one line each.

const GUTTER = 46;
const FOOT = 20;
const DASHES = [[], [7, 3], [2, 3], [10, 3, 2, 3], [4, 2], [1, 2], [12, 4], [6, 2, 1, 2]];

/** The most lines that one plot shows. */
export const MOST_LINES = DASHES.length;

/** Write a number in a few characters. */
export function short(number) {
  const size = Math.abs(number);
  const isLong = size >= 1e6 || (size < 1e-3 && size > 0);
  const text = isLong ? number.toExponential(1).replace(".0e", "e") : String(Number(number.toPrecision(size < 1000 ? 3 : 6)));
  return text.replace(/-/g, "−");
}

/** Return a multiple of 1, 2 or 5 near a third of a range. */
function tickSize(range) {
  const unit = 10 ** Math.floor(Math.log10(range / 2));
  return [5, 2, 1].map((n) => n * unit).find((size) => size <= range / 2) ?? unit;
}

/** Fit a canvas to its size on the screen and return its context, in CSS pixels. */
export function fit(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [real, tall] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== real || canvas.height !== tall) [canvas.width, canvas.height] = [real, tall];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}

export class LinePlot {
  /**
   * canvas: where it is drawn. lines: their number. points: how many each step adds to a line.
   * steps: how many are shown; fits: fewer where there are fewer. range: the least range of the
   * axis, [low, high], or null.
   */
  constructor(canvas, { lines = 1, points = 1, steps = 240, range = null, fits = false }) {
    Object.assign(this, { canvas, lines, points, fits, least: range ?? [Infinity, -Infinity] });
    this.length = steps * points;
    this.values = Array.from({ length: lines }, () => new Float64Array(this.length));
    this.clear();
  }

  clear() {
    this.count = 0;
    this.range = [...this.least];
  }

  /** Add numbers: at(point, line) for some points. */
  push(points, at) {
    for (let point = 0; point < points; point++, this.count++) {
      for (let line = 0; line < this.lines; line++) {
        const value = at(point, line);
        this.values[line][this.count % this.length] = value;
        if (Number.isFinite(value)) {
          this.range[0] = Math.min(this.range[0], value);
          this.range[1] = Math.max(this.range[1], value);
        }
      }
    }
  }

  draw() {
    const { context, width, height } = fit(this.canvas);
    const style = getComputedStyle(this.canvas);
    const color = (name) => style.getPropertyValue(name);
    context.clearRect(0, 0, width, height);
    context.font = `12px ${style.fontFamily}`;
    let [low, high] = this.range;
    if (high < low) [low, high] = [-1, 1];
    if (high - low < 1e-12) [low, high] = [low - 1, high + 1];
    const margin = (high - low) * 0.06;
    const y = (value) => 8 + ((high + margin - value) / (high - low + 2 * margin)) * (height - FOOT - 14);
    const start = Math.max(0, this.count - this.length);
    const span = this.fits ? Math.max(2, Math.min(this.length, this.count)) : this.length;
    const x = (place) => GUTTER + ((place - start) / (span - 1)) * (width - GUTTER - 6);
    this.#axes(context, { low, high, start, span, width, height, y, color });
    context.lineWidth = this.points === 1 ? 1.75 : 1;
    context.lineJoin = "round";
    for (let line = 0; line < this.lines; line++) {
      context.strokeStyle = color(`--line-${line + 1}`);
      context.setLineDash(this.points === 1 ? DASHES[line] : []);
      context.beginPath();
      this.#trace(context, line, start, x, y);
      context.stroke();
    }
    context.setLineDash([]);
  }

  #axes(context, { low, high, start, span, width, height, y, color }) {
    context.strokeStyle = color("--grid");
    context.fillStyle = color("--soft");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    const tick = tickSize(high - low);
    for (let k = Math.ceil(low / tick); k <= Math.floor(high / tick); k++) {
      const at = Math.round(y(k * tick)) + 0.5;
      context.fillText(short(k * tick), GUTTER - 8, at);
      context.beginPath();
      context.moveTo(GUTTER, at);
      context.lineTo(width - 6, at);
      context.stroke();
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    const step = Math.floor(start / this.points);
    context.fillText(`step ${(step + 1).toLocaleString("en")}`, GUTTER, height - 4);
    context.textAlign = "right";
    context.fillText((step + Math.round(span / this.points)).toLocaleString("en"), width - 6, height - 4);
  }

  /** Trace a line; where a pixel has several points, from the least of them to the largest. */
  #trace(context, line, start, x, y) {
    const values = this.values[line];
    let [column, low, high] = [-1, Infinity, -Infinity];
    const flush = () => {
      if (high < low) return;
      context.lineTo(column, y(low));
      if (high > low) context.lineTo(column, y(high));
    };
    for (let place = start; place < this.count; place++) {
      const value = values[place % this.length];
      const at = this.length > 1000 ? Math.round(x(place)) : x(place);
      if (at !== column) {
        flush();
        [column, low, high] = [at, Infinity, -Infinity];
      }
      if (value < low) low = value;
      if (value > high) high = value;
    }
    flush();
  }
}
