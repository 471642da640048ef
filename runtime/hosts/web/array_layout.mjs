// Where the steps and columns of a sequence lie in the arrays of a port.

/** Name the axis of steps of a port: `hop`, `sequence` or an expression of it; -1 without one. */
export function stepAxis(axes) {
  return axes.findIndex((axis) => axis === "hop" || /\bsequence\b/.test(axis ?? ""));
}

/**
 * Return, for every element of an array, its step and its column: the place among the numbers of
 * one step. Only the first sequence counts: elements of others have the places of the first.
 */
export function layout(shape, axes) {
  const time = stepAxis(axes);
  const batch = axes.indexOf("batch");
  const size = shape.reduce((product, one) => product * one, 1);
  const step = new Int32Array(size);
  const column = new Int32Array(size);
  const first = new Uint8Array(size);
  for (let place = 0; place < size; place++) {
    let rest = place;
    let unit = 1;
    first[place] = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const index = rest % shape[axis];
      rest = (rest - index) / shape[axis];
      if (axis === time) step[place] = index;
      else if (axis === batch) first[place] &= index === 0 ? 1 : 0;
      else {
        column[place] += index * unit;
        unit *= shape[axis];
      }
    }
  }
  const width = shape.reduce((n, one, axis) => (axis === time || axis === batch ? n : n * one), 1);
  return { steps: time < 0 ? null : shape[time], width, size, step, column, first };
}

/** Return a function of step and column to the number of an array's first sequence. */
export function reader(data, { steps, width, size, step, column, first }) {
  const numbers = new Float64Array((steps ?? 1) * width);
  for (let place = 0; place < size; place++) {
    if (first[place]) numbers[step[place] * width + column[place]] = Number(data[place]);
  }
  return (t, c) => numbers[steps === null ? c : t * width + c];
}
