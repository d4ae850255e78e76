// A pad of 32 × 32 dots, and the scan of it: 8 × 8 numbers from 0 to 16, as scikit-learn's digits
// were made. Each form was cut out by its own edges, brought to 32 × 32 dots, and the dark dots
// of every 4 × 4 were counted (Alpaydin and Kaynak 1998).

export const DOTS = 32;

/** Dots (32 · 32 of 0 and 1) → 64 numbers 0…16; the form is cut out, centred, and made 32 high. */
export function scan(dots) {
  const fitted = fit(dots);
  const counts = new Uint8Array(64);
  fitted.forEach((dot, i) => {
    const [row, column] = [Math.floor(i / DOTS), i % DOTS];
    counts[Math.floor(row / 4) * 8 + Math.floor(column / 4)] += dot;
  });
  return counts;
}

/** The form brought to the pad's full size, its proportions kept; an empty pad stays empty. */
export function fit(dots) {
  const rows = [], columns = [];
  dots.forEach((dot, i) => {
    if (dot) {
      rows.push(Math.floor(i / DOTS));
      columns.push(i % DOTS);
    }
  });
  const fitted = new Uint8Array(DOTS * DOTS);
  if (!rows.length) return fitted;
  const [top, left] = [Math.min(...rows), Math.min(...columns)];
  const [height, width] = [Math.max(...rows) - top + 1, Math.max(...columns) - left + 1];
  const scale = Math.max(height, width) / DOTS; // dots of the pad for one dot of the scan
  const [down, right] = [(DOTS - height / scale) / 2, (DOTS - width / scale) / 2];
  for (let row = 0; row < DOTS; row++)
    for (let column = 0; column < DOTS; column++) {
      const y = Math.floor(top + (row + 0.5 - down) * scale);
      const x = Math.floor(left + (column + 0.5 - right) * scale);
      const inside = y >= top && y < top + height && x >= left && x < left + width;
      if (inside) fitted[row * DOTS + column] = dots[y * DOTS + x];
    }
  return fitted;
}

/** Set all dots within the pen's radius of the line from one point to the other; points in dots. */
export function stroke(dots, from, to, radius) {
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
  for (let k = 0; k <= steps; k++) {
    const [x, y] = [0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * k) / steps);
    for (let row = Math.floor(y - radius); row <= y + radius; row++)
      for (let column = Math.floor(x - radius); column <= x + radius; column++) {
        const near = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius;
        if (near && row >= 0 && row < DOTS && column >= 0 && column < DOTS) dots[row * DOTS + column] = 1;
      }
  }
}
