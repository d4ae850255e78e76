// The attention viewer: pick a patch, see where it looks. No kernel, no network, no framework.
//
// mount(element, data) draws the viewer into an element, mountPair two beside each other;
// mountPatches and mountPositions are the small ones of chapters 1 and 2. data comes from
// vitbook/viewer/__init__.py: weights are bytes, row by row, each row divided by its own maximum
// (scales). Rows and columns of patches are counted from 0, as in the figures; layers and heads
// from 1, as in the paper.

const STYLE = `
.vv { color: inherit; font: 14px/1.4 system-ui, sans-serif; max-width: 760px; }
.vv * { box-sizing: border-box; }
.vv-main { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
.vv-picture { position: relative; width: min(320px, 100%); aspect-ratio: var(--vv-ratio);
  cursor: crosshair; touch-action: pan-y; border-radius: 4px; }
.vv-picture:focus-visible { outline: 3px solid #56b4e9; outline-offset: 3px; }
.vv-picture img, .vv-picture canvas { position: absolute; inset: 0; width: 100%; height: 100%;
  image-rendering: pixelated; margin: 0; padding: 0 !important; border-radius: 0;
  background: none !important; } /* dark themes frame pictures */
.vv-picked { position: absolute; border: 2px solid #fff; outline: 2px solid #000;
  pointer-events: none; }
.vv-box { position: absolute; border: 2px solid #d55e00; outline: 1px solid #fff;
  pointer-events: none; }
.vv-left { width: min(320px, 100%); }
.vv-left .vv-picture { width: 100%; }
.vv-scale { display: flex; gap: 8px; align-items: center; margin: 6px 0 0; }
.vv-scale i { flex: 1; height: 8px; border-radius: 4px; }
.vv-note { margin: 6px 0 0; font-size: 12px; opacity: 0.8; }
.vv kbd { border: 1px solid currentColor; border-radius: 3px; padding: 0 3px; font: inherit;
  background: none; color: inherit; box-shadow: none; }
.vv input[type="range"] { min-height: 44px; flex: 1; }
@media (hover: none) { .vv-keys { display: none; } }
.vv-side { flex: 1 1 260px; min-width: 0; }
.vv-row { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: center; margin: 0 0 8px; }
.vv-row span { opacity: 0.8; }
.vv button, .vv select, .vv input { font: inherit; color: inherit; }
.vv button, .vv select { background: transparent; border: 1px solid currentColor;
  border-radius: 6px; padding: 4px 10px; min-height: 32px; cursor: pointer; }
.vv select option { color: #000; background: #fff; }
.vv button[aria-pressed="true"] { background: #0072b2; border-color: #0072b2; color: #fff; }
.vv button:disabled, .vv select:disabled { opacity: 0.45; cursor: default; }
.vv-overview { display: grid; gap: 3px; margin-top: 14px; overflow-x: auto; }
.vv-overview button { padding: 0; border: 2px solid transparent; border-radius: 2px;
  min-height: 0; line-height: 0; background: none; }
.vv-overview button[aria-pressed="true"] { border-color: #d55e00; background: none; }
.vv-overview canvas { width: 100%; height: auto; image-rendering: pixelated; display: block; }
.vv-overview span { font-size: 11px; align-self: center; text-align: center; opacity: 0.8; }
.vv-overview + .vv-row { margin-top: 8px; font-size: 12px; }
.vv-overview + .vv-row button { min-height: 24px; padding: 0 8px; }
.vv-flow { display: flex; gap: 3px; margin-top: 14px; }
.vv-stage { flex: 0 1 64px; min-width: 0; font-size: 11px; text-align: center; }
.vv-stage span { display: block; opacity: 0.8; white-space: nowrap; }
.vv-stage canvas { width: 100%; height: auto; image-rendering: pixelated; display: block; }
.vv-pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); gap: 24px; }
.vv-pair > * { min-width: 0; }
.vv-name { margin: 0 0 6px; font-weight: 600; }
.vv-said { margin: 8px 0 0; min-height: 4.2em; }
.vv-bars { margin: 8px 0 0; padding: 0; list-style: none; }
.vv-bars li { display: grid; grid-template-columns: 7em 1fr 3.8em; gap: 8px; align-items: center; }
.vv-wide li { grid-template-columns: 4em 1fr 6.5em; }
.vv-bars b { display: block; height: 8px; background: #0072b2; border-radius: 4px; }
@media (forced-colors: active) {
  .vv-bars b, .vv button[aria-pressed="true"] { forced-color-adjust: none; }
}
.vv-bars em { font-style: normal; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
`;

// Viridis, nine stops: even to the eye, and safe for the colour-blind.
const STOPS = [
  [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
  [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
];

/** The colour of a value in 0…1 as [r, g, b]. */
export function colour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const i = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[i].map((low, c) => Math.round(low + (place - i) * (STOPS[i + 1][c] - low)));
}

const PALETTE = Array.from({ length: 256 }, (_, i) => colour(i / 255));

/** base64 to bytes. */
function bytes(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** A table as it was sent: bytes, and the maximum of every row. */
function unpack({ bytes: packed, scales, unit }) {
  const steps = new Uint16Array(bytes(scales).buffer);
  return { bytes: bytes(packed), scales: Float32Array.from(steps, (s) => (s / 65535) * unit) };
}

// In place of a token's number: the mean of all, for models without a class token.
const ALL = -1;

/** The weights: at(layer, head, query, key), and whole maps. head -1 is the mean of heads. */
export class Attention {
  constructor(data) {
    Object.assign(this, data);
    this.first = data.classToken ? 1 : 0;
    this.tokens = data.rows * data.columns + this.first;
    this.weights = unpack(data.weights);
    this.means = []; // of a layer's heads, once somebody asks
    this.tables = Object.fromEntries(
      Object.entries(data.tables).map(([name, table]) => [name, unpack(table)]),
    );
  }

  at(layer, head, query, key) {
    if (head < 0) {
      let sum = 0;
      for (let h = 0; h < this.heads; h++) sum += this.at(layer, h, query, key);
      return sum / this.heads;
    }
    const row = (layer * this.heads + head) * this.tokens + query;
    return (this.weights.bytes[row * this.tokens + key] / 255) * this.weights.scales[row];
  }

  /** One value of a method that joins all layers. */
  joined(method, query, key) {
    const { bytes: b, scales } = this.tables[method];
    return (b[query * this.tokens + key] / 255) * scales[query];
  }

  value(state, query, key) {
    return state.method === "attention"
      ? this.at(state.layer, state.head, query, key)
      : this.joined(state.method, query, key);
  }

  /** How much all tokens look at one, on average: what counts where their mean answers. */
  mean(state, key) {
    let sum = 0;
    for (let query = 0; query < this.tokens; query++) sum += this.value(state, query, key);
    return sum / this.tokens;
  }

  /** A layer's looks, its heads averaged: row after row. */
  layer(layer) {
    const { tokens: n } = this;
    return (this.means[layer] ??= Float32Array.from({ length: n * n },
      (_, i) => this.at(layer, -1, Math.floor(i / n), i % n)));
  }

  /**
   * Shares of every token, in the picture and after each layer. Backwards ("looks"): what the
   * picked token is mixed from. Forwards ("looked"): what is made of the picked one. Half of a
   * step stays where it is, half follows the looks (rollout, Abnar and Zuidema 2020).
   */
  flow({ token, by }) {
    const { tokens: n, layers } = this;
    const back = by === "looks";
    const start = Float32Array.from({ length: n }, (_, k) => (token === ALL ? 1 / n : Number(k === token)));
    const found = [start];
    for (let step = 0; step < layers; step++) {
      const looks = this.layer(back ? layers - 1 - step : step);
      const before = found.at(-1);
      const after = before.map((share) => share / 2);
      for (let query = 0; query < n; query++)
        for (let key = 0; key < n; key++) {
          const [from, to] = back ? [query, key] : [key, query];
          after[to] += (before[from] * looks[query * n + key]) / 2;
        }
      found.push(after);
    }
    return back ? found.reverse() : found;
  }

  /** The map of the picked token over all patches: its row, or, looked at, its column. */
  map(state) {
    const found = new Float32Array(this.rows * this.columns);
    for (let patch = 0; patch < found.length; patch++) {
      const other = patch + this.first;
      if (state.token === ALL) found[patch] = this.mean(state, other);
      else if (state.by === "looks") found[patch] = this.value(state, state.token, other);
      else found[patch] = this.value(state, other, state.token);
    }
    return found;
  }
}

function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const largest = (map) => map.reduce((one, other) => Math.max(one, other), 0);

/** Draw a map into a canvas of one pixel per patch; the weaker, the more shows through. */
function paint(canvas, map, least, most, top = largest(map)) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < map.length; i++) {
    const share = Math.max(map[i] / (top || 1), 0);
    const [red, green, blue] = PALETTE[Math.round(255 * share)];
    pixels.data[4 * i] = red;
    pixels.data[4 * i + 1] = green;
    pixels.data[4 * i + 2] = blue;
    pixels.data[4 * i + 3] = least + (most - least) * share;
  }
  context.putImageData(pixels, 0, 0);
}

/**
 * One way of pointing for all: hovering shows, pressing picks, and so does dragging a mouse.
 * A finger picks by a tap: it scrolls the page as everywhere.
 */
function pointing(element, rows, columns, show, pick) {
  const at = (event) => {
    const [row, column] = cell(event, element.getBoundingClientRect(), rows, columns);
    return row * columns + column;
  };
  element.addEventListener("click", (event) => pick(at(event)));
  element.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") (event.buttons & 1 ? pick : show)(at(event));
  });
  element.addEventListener("pointerleave", () => show(null));
}

const VERBS = { // of a row, and of a column
  attention: ["looks most at", "is looked at most by"],
  rollout: ["is mixed most from", "goes most into"],
  relevance: ["draws most on", "is drawn on most by"],
};

const VIRIDIS = `linear-gradient(to right, ${STOPS.map((c) => `rgb(${c})`).join(", ")})`;

const percent = (value) => `${(100 * value).toFixed(1)}%`;

/**
 * Draw the viewer into an element. `told` hears every change, and which token is hovered.
 * Returns { attention, state, set, follow, controls }.
 */
export function mount(element, data, told = () => {}) {
  const attention = new Attention(data);
  const { rows, columns, layers, heads, first } = attention;
  const state = {
    token: first ? 0 : ALL, layer: layers - 1, head: -1, by: "looks", method: "attention",
    scale: "own",
  };
  const place = (token) => {
    if (token === ALL) return "the mean of all patches";
    if (token < first) return "the class token";
    const patch = token - first;
    return `row ${Math.floor(patch / columns)}, column ${patch % columns}`;
  };

  const heat = make("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const picked = make("div", { class: "vv-picked" });
  const said = make("p", { class: "vv-said", role: "status", "aria-live": "polite" });
  const picture = make("div", {
    class: "vv-picture", tabindex: "0", role: "application",
    "data-lm-suppress-shortcuts": "true", // JupyterLab leaves the keys to us
    "aria-label": "The picture. Arrow keys move from patch to patch, rows and columns counted "
      + "from 0; Home goes to the class token or to all patches, L and H change layer and head.",
    style: `--vv-ratio: ${columns} / ${rows}`,
  }, [make("img", { src: data.image, alt: "" }), heat, picked]);
  if (data.box) {
    const [top, left, bottom, right] = data.box.map((share) => 100 * share);
    picture.append(make("div", {
      class: "vv-box",
      style: `left: ${left}%; top: ${top}%; width: ${right - left}%; height: ${bottom - top}%`,
    }));
  }
  const most = make("span");
  const home = first ? "class token" : "all patches";
  const keys = make("p", { class: "vv-note vv-keys", "aria-hidden": "true" });
  keys.innerHTML = "<kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> patch, counted from 0 · <kbd>L</kbd> layer · "
    + `<kbd>H</kbd> head · <kbd>Home</kbd> ${home}`;
  const left = make("div", { class: "vv-left" }, [
    picture,
    make("div", { class: "vv-scale" }, [
      make("span", { text: "0" }), make("i", { style: `background: ${VIRIDIS}` }), most,
    ]),
    keys,
  ]);

  const buttons = {};
  function choice(key, value, text) {
    const button = make("button", {
      type: "button", text, onclick: () => set({ [key]: value }),
    });
    (buttons[key] ??= new Map()).set(value, button);
    return button;
  }
  function menu(key, label, options) {
    const select = make("select", {
      "aria-label": label, onchange: (event) => set({ [key]: Number(event.target.value) }),
    }, options.map(([value, text]) => make("option", { value, text })));
    buttons[key] = select;
    return select;
  }

  const numbers = (count) => Array.from({ length: count }, (_, i) => i);
  const layerMenu = menu("layer", "layer", numbers(layers).map((i) => [i, `layer ${i + 1}`]));
  const headMenu = menu("head", "head", [
    [-1, "mean of heads"], ...numbers(heads).map((i) => [i, `head ${i + 1}`]),
  ]);
  const methods = ["attention", ...Object.keys(data.tables)];
  const controls = make("div", { class: "vv-controls" }, [
    make("div", { class: "vv-row", role: "group", "aria-label": "direction" }, [
      choice("by", "looks", "looks at"), choice("by", "looked", "is looked at by"),
    ]),
    make("div", { class: "vv-row", role: "group", "aria-label": "method" },
      methods.map((name) => choice("method", name, name))),
    make("div", { class: "vv-row" }, [
      layerMenu, headMenu,
      first ? choice("token", 0, home) : choice("token", ALL, home),
    ]),
  ]);
  const side = make("div", { class: "vv-side" }, [
    controls,
    said,
    make("ul", { class: "vv-bars", "aria-label": "what the model answers" },
      data.predictions.map(([name, p]) => make("li", {}, [
        make("em", { text: name, title: name }),
        make("b", { style: `width: ${(100 * p).toFixed(1)}%` }),
        make("span", { text: `${Math.round(100 * p)}%` }),
      ]))),
  ]);

  const thumbs = [];
  const grid = make("div", {
    class: "vv-overview", role: "group", "aria-label": "all layers and heads",
    style: `grid-template-columns: 3.6em repeat(${heads}, minmax(22px, 64px))`,
  }, [make("span"), ...numbers(heads).map((h) => make("span", { text: `head ${h + 1}` }))]);
  for (const layer of numbers(layers)) {
    grid.append(make("span", { text: `layer ${layer + 1}` }));
    for (const head of numbers(heads)) {
      const canvas = make("canvas", { width: columns, height: rows, "aria-hidden": "true" });
      const button = make("button", {
        type: "button", "aria-label": `layer ${layer + 1}, head ${head + 1}`,
        onclick: () => set({ layer, head, method: "attention" }),
      }, [canvas]);
      thumbs.push({ layer, head, canvas, button });
      grid.append(button);
    }
  }

  const brightest = make("span");
  const scales = make("div", { class: "vv-row", role: "group", "aria-label": "scale of the small maps" }, [
    make("span", { text: "yellow is the largest of" }),
    choice("scale", "own", "each small map"), choice("scale", "one", "all of them"), brightest,
  ]);
  const course = numbers(layers + 1).map((stage) => {
    const canvas = make("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    const kept = make("span");
    const name = make("span", { text: stage ? `after ${stage}` : "picture" });
    return { canvas, kept, figure: make("div", { class: "vv-stage" }, [name, canvas, kept]) };
  });
  const runs = make("p", { class: "vv-note" });
  const flow = make("div", { class: "vv-flow", role: "group", "aria-label": "flow through the layers" },
    course.map(({ figure }) => figure));

  /** The way through the layers; of the class token, which is on no map, the share is a number. */
  function drawFlow(shown) {
    const stages = attention.flow(shown);
    const maps = stages.map((shares) => shares.slice(first));
    const one = shown.scale === "one" ? Math.max(...maps.map(largest)) : undefined;
    course.forEach(({ canvas, kept }, stage) => {
      paint(canvas, maps[stage], 255, 255, one);
      canvas.style.opacity = largest(maps[stage]) ? 1 : 0.15; // all is in the class token
      kept.textContent = first ? `cls ${stages[stage][0].toFixed(2)}` : "";
    });
    const back = shown.by === "looks";
    const end = back ? stages[0] : stages[layers]; // ties: the first one
    const most = end.indexOf(largest(end.slice(first)), first);
    const whose = place(shown.token);
    runs.textContent = (back
      ? `What ${whose} is mixed from, right to left, after each layer and in the picture: of its `
        + `patches, ${place(most)} gives most (${percent(end[most])}).`
      : `How much of every token comes from ${whose}, left to right, after each layer: after the `
        + `last, of the patches, ${place(most)} has most of it (${percent(end[most])}).`)
      + " In each layer half stays, half follows the looks, heads averaged."
      + (first ? " cls: the class token's share." : "");
  }

  /** Draw what is picked; with a token, that one in its place, for as long as it is hovered. */
  function draw(token = state.token) {
    const shown = { ...state, token };
    const map = attention.map(shown);
    paint(heat, map, 90, 220);
    const patch = token - first;
    picked.style.display = patch < 0 ? "none" : "block";
    picked.style.left = `${(100 * (patch % columns)) / columns}%`;
    picked.style.top = `${(100 * Math.floor(patch / columns)) / rows}%`;
    picked.style.width = `${100 / columns}%`;
    picked.style.height = `${100 / rows}%`;
    const small = thumbs.map(({ layer, head }) =>
      attention.map({ ...shown, layer, head, method: "attention" }));
    const one = shown.scale === "one" ? Math.max(...small.map(largest)) : undefined;
    brightest.textContent = one === undefined ? "" : percent(one);
    for (const [i, { layer, head, canvas, button }] of thumbs.entries()) {
      paint(canvas, small[i], 255, 255, one);
      const on = state.method === "attention" && layer === state.layer && head === state.head;
      button.setAttribute("aria-pressed", String(on));
      button.tabIndex = on ? 0 : -1; // one stop for the Tab key; arrows go on from there
    }
    if (!thumbs.some(({ button }) => button.tabIndex === 0)) thumbs[0].button.tabIndex = 0;
    for (const [key, values] of Object.entries(buttons)) {
      if (values instanceof Map) {
        values.forEach((b, value) => b.setAttribute("aria-pressed", String(state[key] === value)));
      } else {
        values.value = String(state[key]);
        values.disabled = state.method !== "attention";
      }
    }
    const looked = buttons.by.get("looked"); // all together are looked at by each alike
    looked.disabled = state.token === ALL;
    looked.title = looked.disabled ? "pick a patch first" : "";
    const top = [...map.keys()].sort((a, b) => map[b] - map[a] || a - b).slice(0, 3);
    const where = state.method === "attention"
      ? `Layer ${state.layer + 1}, ${state.head < 0 ? "mean of heads" : `head ${state.head + 1}`}`
      : state.method[0].toUpperCase() + state.method.slice(1);
    const amount = (value) => (state.method === "relevance" ? value.toPrecision(2) : percent(value));
    const verb = VERBS[state.method][Number(state.by !== "looks")];
    const list = top.map((p) => `${place(p + first)} (${amount(map[p])})`).join("; ");
    said.textContent = `${where}: ${place(token)} ${verb} ${list}.`;
    most.textContent = amount(map[top[0]]);
    drawFlow(shown);
  }

  /** As set, but nobody is told: the change came from the one beside it. */
  function follow(changes, hovered) {
    Object.assign(state, changes);
    if (state.token === ALL) state.by = "looks";
    draw(hovered);
  }
  function set(changes) {
    follow(changes);
    told(changes);
  }
  function hover(patch) {
    const token = patch === null ? undefined : patch + first;
    draw(token);
    told({}, token);
  }

  pointing(picture, rows, columns, hover, (patch) => set({ token: patch + first }));
  picture.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const patch = state.token - first;
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const key = event.key.toLowerCase();
    if (event.key in steps) {
      const [down_, right] = steps[event.key];
      const row = Math.min(Math.max(Math.floor(Math.max(patch, 0) / columns) + down_, 0), rows - 1);
      const column = Math.min(Math.max((Math.max(patch, 0) % columns) + right, 0), columns - 1);
      set({ token: patch < 0 ? first : row * columns + column + first });
    } else if (event.key === "Home") set({ token: first ? 0 : ALL });
    else if (state.method !== "attention") return; // the rest has no layers and heads
    else if (key === "l") set({ layer: (state.layer + 1) % layers });
    else if (key === "h") set({ head: state.head + 1 < heads ? state.head + 1 : -1 });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -heads, ArrowDown: heads };
    const here = thumbs.findIndex(({ button }) => button === event.target);
    const next = thumbs[here + steps[event.key]];
    if (here < 0 || !next || event.ctrlKey || event.metaKey || event.altKey) return;
    set({ layer: next.layer, head: next.head, method: "attention" });
    next.button.focus();
    event.preventDefault();
    event.stopPropagation();
  });

  const style = make("style", { text: STYLE });
  const root = make("div", { class: "vv" }, [
    style, make("div", { class: "vv-main" }, [left, side]), grid, scales, flow, runs,
  ]);
  element.replaceChildren(root);
  draw();
  return { attention, state, set, follow, controls };
}

/** Two models on one picture: what is picked in one is picked in the other. */
export function mountPair(element, { names, pair }) {
  const places = names.map(() => make("div"));
  const views = pair.map((data, i) => mount(places[i], data, (...news) => views[1 - i].follow(...news)));
  const halves = places.map((place, i) => make("section", { "aria-label": names[i] }, [
    make("p", { class: "vv-name", text: names[i] }), place,
  ]));
  views[1].controls.remove(); // one set is enough
  element.replaceChildren(make("div", { class: "vv" }, [
    views[0].controls, make("div", { class: "vv-pair" }, halves),
  ]));
  return views;
}

/** Draw every widget of a key that is not drawn yet: the same one may stand on a page twice. */
export function start(key, draw) {
  const text = document.querySelector(`[data-for="${key}"]`).textContent;
  for (const element of document.querySelectorAll(`[data-key="${key}"]:not([data-drawn])`)) {
    element.dataset.drawn = "";
    draw(element, JSON.parse(text));
  }
}

/** Where on a box a pointer is, as (row, column) of a grid. */
function cell(event, box, rows, columns) {
  const clip = (value, count) => Math.min(Math.max(Math.floor(value * count), 0), count - 1);
  return [
    clip((event.clientY - box.top) / box.height, rows),
    clip((event.clientX - box.left) / box.width, columns),
  ];
}

/** Chapter 1: a slider for the patch size, and what it costs. */
export function mountPatches(element, data) {
  const { side, sizes } = data;
  const lines = make("canvas", { width: 2 * side, height: 2 * side, "aria-hidden": "true" });
  const picture = make("div", { class: "vv-picture", style: "--vv-ratio: 1; cursor: default; touch-action: auto" }, [
    make("img", { src: data.image, alt: "The picture, cut into patches by a grid." }), lines,
  ]);
  const slider = make("input", {
    type: "range", min: 0, max: sizes.length - 1, value: sizes.indexOf(data.start),
    "aria-label": "patch size", oninput: () => draw(),
  });
  const said = make("p", { class: "vv-said", role: "status", "aria-live": "polite" });
  const bars = ["tokens", "looks"].map((name) => ({ name, bar: make("b"), text: make("span") }));
  const list = make("ul", { class: "vv-bars vv-wide", "aria-hidden": "true" },
    bars.map(({ name, bar, text }) => make("li", {}, [make("em", { text: name }), bar, text])));

  function draw() {
    const size = sizes[Number(slider.value)];
    const n = (side / size) ** 2;
    const context = lines.getContext("2d");
    context.clearRect(0, 0, 2 * side, 2 * side);
    context.fillStyle = "rgba(255, 255, 255, 0.8)";
    for (let at = size; at < side; at += size) {
      context.fillRect(2 * at - 0.5, 0, 1, 2 * side);
      context.fillRect(0, 2 * at - 0.5, 2 * side, 1);
    }
    slider.setAttribute("aria-valuetext", `${size} by ${size} pixels`);
    const most = (side / sizes[0]) ** 2;
    const shares = [n / most, (n / most) ** 2];
    const texts = [n.toLocaleString("en"), (n * n).toLocaleString("en")];
    bars.forEach(({ bar, text }, i) => {
      bar.style.width = `${Math.max(100 * shares[i], 0.5)}%`;
      text.textContent = texts[i];
    });
    said.textContent = `Patches of ${size} × ${size} pixels: ${side / size} × ${side / size} = `
      + `${texts[0]} tokens. Every token looks at every token: ${texts[1]} looks in each head.`;
  }

  const style = make("style", { text: STYLE });
  element.replaceChildren(make("div", { class: "vv" }, [style,
    make("div", { class: "vv-main" }, [picture, make("div", { class: "vv-side" }, [
      make("label", { class: "vv-row" }, [make("span", { text: "patch size" }), slider]),
      said, list,
    ])])]));
  draw();
}

/** Chapter 2: point at a position, see which positions resemble it. */
export function mountPositions(element, data) {
  const { rows, columns } = data;
  const similar = bytes(data.similar);
  const n = rows * columns;
  let picked = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  const value = (i, j) => similar[i * n + j] / 127.5 - 1;
  const map = make("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const mark = make("div", { class: "vv-picked" });
  const said = make("p", { class: "vv-said", role: "status", "aria-live": "polite" });
  const board = make("div", {
    class: "vv-picture", tabindex: "0", role: "application",
    "data-lm-suppress-shortcuts": "true",
    "aria-label": "The grid of positions, rows and columns counted from 0. Arrow keys move from "
      + "one to the next.",
    style: `--vv-ratio: ${columns} / ${rows}`,
  }, [map, mark]);
  const place = (p) => `row ${Math.floor(p / columns)}, column ${p % columns}`;
  const least = make("span");

  function draw(shown = picked) {
    const row = Float32Array.from({ length: n }, (_, j) => value(shown, j));
    const low = Math.min(...row);
    const context = map.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    row.forEach((v, j) => pixels.data.set([...colour((v - low) / (1 - low)), 255], 4 * j));
    context.putImageData(pixels, 0, 0);
    mark.style.left = `${(100 * (shown % columns)) / columns}%`;
    mark.style.top = `${(100 * Math.floor(shown / columns)) / rows}%`;
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
    const others = [...row.keys()].filter((j) => j !== shown).sort((a, b) => row[b] - row[a] || a - b);
    const [near, far] = [others[0], others[others.length - 1]];
    said.textContent = `${place(shown)} resembles ${place(near)} most (cosine `
      + `${row[near].toFixed(2)}) and ${place(far)} least (${row[far].toFixed(2)}).`;
    least.textContent = low.toFixed(2);
  }

  pointing(board, rows, columns, (index) => draw(index ?? picked), (index) => {
    picked = index;
    draw();
  });
  board.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    const [down, right] = steps[event.key];
    const row = Math.min(Math.max(Math.floor(picked / columns) + down, 0), rows - 1);
    const column = Math.min(Math.max((picked % columns) + right, 0), columns - 1);
    picked = row * columns + column;
    draw();
    event.preventDefault();
    event.stopPropagation();
  });

  const style = make("style", { text: STYLE });
  element.replaceChildren(make("div", { class: "vv" }, [style,
    make("div", { class: "vv-main" }, [
      make("div", { class: "vv-left" }, [board, make("div", { class: "vv-scale" }, [
        least, make("i", { style: `background: ${VIRIDIS}` }), make("span", { text: "1" }),
      ])]),
      make("div", { class: "vv-side" }, [said]),
    ])]));
  draw();
}
