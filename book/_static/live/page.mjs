// What the parts of the laboratory share: elements, pictures made of numbers, a worker to ask.

/** An element with attributes, `on…` handlers and children; `text` is its text. */
export function make(tag, set = {}, children = []) {
  const svg = ["svg", "path", "line", "text", "rect", "g", "polyline", "circle"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(set)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Where a file of the laboratory lies. */
export const place = (name) => new URL(name, import.meta.url);

/** A worker that is asked and answers: ask("answer", {…}) → promise. `told` hears the rest. */
export function colleague(told = () => {}) {
  const worker = new Worker(place("worker.mjs"), { type: "module" });
  const waiting = new Map();
  let last = 0;
  worker.addEventListener("message", ({ data }) => {
    if (data.id === undefined) return told(data);
    const { go, stop } = waiting.get(data.id);
    waiting.delete(data.id);
    data.error ? stop(new Error(data.error)) : go(data);
  });
  const broken = (event) => {
    const error = new Error(event.message ? `The engine does not start here: ${event.message}` : "The engine does not start here: does this browser know WebAssembly?");
    for (const { stop } of waiting.values()) stop(error);
    waiting.clear();
  };
  worker.addEventListener("error", broken);
  return (ask, rest = {}) =>
    new Promise((go, stop) => {
      waiting.set(++last, { go, stop });
      worker.postMessage({ id: last, ask, ...rest });
    });
}

/**
 * Fetch a file, telling how far one is: progress(bytes so far, bytes in all).
 *
 * @throws {Error} the line is gone, or there is no such file
 */
export async function fetched(name, progress = () => {}, signal = undefined) {
  const answer = await fetch(place(name), { signal });
  if (!answer.ok) throw new Error(`${name} is not here (${answer.status}).`);
  const total = Number(answer.headers.get("content-length"));
  const reader = answer.body.getReader();
  const parts = [];
  let length = 0;
  for (let part; !(part = await reader.read()).done; ) {
    parts.push(part.value);
    length += part.value.length;
    progress(length, total);
  }
  return new Blob(parts).arrayBuffer();
}

/** Softmax of an array of logits. */
export function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export const percent = (share) => `${Math.round(100 * share)}%`;

/** Draw numbers as squares into a canvas: rows × columns, each [r, g, b] by `colour(value)`. */
export function paint(canvas, values, rows, columns, colour) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set([...colour(values[i], i), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

const LOW = [68, 1, 84], MIDDLE = [33, 145, 140], HIGH = [253, 231, 37];

/** Viridis in three colours, for 0 to 1: read in every kind of colour vision, and in grey. */
export function viridis(share) {
  const [from, to, at] = share < 0.5 ? [LOW, MIDDLE, 2 * share] : [MIDDLE, HIGH, 2 * share - 1];
  return from.map((value, k) => Math.round(value + (to[k] - value) * Math.max(0, Math.min(1, at))));
}

/** White to black for 0 to 1, as ink. */
export const ink = (share) => Array(3).fill(Math.round(255 * (1 - share)));

/** Below 0 blue, above it red, white at 0; ±1 are the ends. */
export function diverging(value) {
  const strength = Math.min(1, Math.abs(value));
  const end = value < 0 ? [33, 102, 172] : [178, 24, 43];
  return end.map((part) => Math.round(255 + (part - 255) * strength));
}

/** Bars with names and percentages, the likeliest first, or those of `likely`, into an element. */
export function bars(element, names, shares, count = 5, likely = shares) {
  const order = names.map((_, k) => k).sort((a, b) => likely[b] - likely[a]).slice(0, count);
  element.replaceChildren(...order.map((k) => make("div", { class: "lab-bar" }, [
    make("span", { text: names[k] }),
    make("span", { class: "lab-track" }, [make("span", { class: "lab-fill", style: `width: ${100 * shares[k]}%` })]),
    make("span", { text: percent(shares[k]) }),
  ])));
}
