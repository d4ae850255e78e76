// Part four, with pencil and paper: attention of three tokens in the plane, and a stream that
// every branch adds to. All numbers are shown; arrows are dragged, or moved by the arrow keys.
import { make, percent, softmax } from "./page.mjs";

const NAMES = ["a", "b", "c"];
const COLOURS = ["#0072b2", "#d55e00", "#009e73"];
const ONE = { queries: "query", keys: "key", values: "value" };
const START = { queries: [[1.5, 0.5], [-1, 1], [0.5, -1.5]], keys: [[1, 1], [-1.5, 0.5], [0, -1.5]], values: [[2, 0], [0, 2], [-1.5, -1]] };
const REACH = 3, SIDE = 200;
const EDGE = 2.7; // a dot there is still whole

export function pencil(element) {
  const vectors = structuredClone(START);
  const scaled = make("input", { type: "checkbox", checked: true, onchange: draw });
  const heat = make("input", { type: "range", min: 0.1, max: 3, step: 0.1, value: 1, oninput: draw });
  const told = make("output", { text: "1.0" });
  const planes = Object.fromEntries(Object.keys(vectors).map((kind) => [kind, plane(kind, vectors[kind], draw)]));
  const outputs = plane("outputs", [[0, 0], [0, 0], [0, 0]]);
  const table = make("table", { class: "lab-lens" });
  const again = make("button", { type: "button", text: "As it was", onclick: () => {
    for (const kind of Object.keys(vectors)) vectors[kind].forEach((vector, k) => vector.splice(0, 2, ...START[kind][k]));
    scaled.checked = true;
    heat.value = 1;
    draw();
  } });
  element.replaceChildren(
    make("div", { class: "lab-row" }, [make("label", {}, [scaled, "divide by √d, here √2"]), make("label", {}, ["temperature", heat, told]), again]),
    make("div", { class: "lab-maps" }, [...Object.values(planes), outputs].map((one) => one.element)),
    make("div", { class: "lab-scroll", tabindex: 0, role: "group", "aria-label": "scores and weights" }, [table]),
  );
  draw();

  function draw() {
    told.textContent = Number(heat.value).toFixed(1);
    const { queries, keys, values } = vectors;
    const rows = queries.map((q) => {
      const scores = keys.map((k) => (q[0] * k[0] + q[1] * k[1]) / (scaled.checked ? Math.SQRT2 : 1));
      const weights = softmax(scores.map((score) => score / Number(heat.value)));
      return { scores, weights, output: [0, 1].map((axis) => weights.reduce((sum, weight, k) => sum + weight * values[k][axis], 0)) };
    });
    for (const [kind, one] of Object.entries(planes)) one.draw(vectors[kind]);
    outputs.draw(rows.map((row) => row.output));
    const cells = (row, i) => [
      make("th", { scope: "row", text: `${NAMES[i]} looks` }),
      ...row.scores.map((score) => make("td", { text: plain(score) })),
      ...row.weights.map((weight) => make("td", { text: percent(weight) })),
      make("td", { text: row.output.map(plain).join(", ") }),
    ];
    const head = ["", ...NAMES.map((name) => `score of ${name}`), ...NAMES.map((name) => `weight of ${name}`), "output"];
    table.replaceChildren(
      make("tr", {}, head.map(heading)),
      ...rows.map((row, i) => make("tr", {}, cells(row, i))),
    );
  }
}

/** A plane with an arrow for each token; without `changed` nothing in it can be moved. */
function plane(title, vectors, changed) {
  const at = ([x, y]) => [SIDE / 2 + (x * SIDE) / (2 * REACH), SIDE / 2 - (y * SIDE) / (2 * REACH)];
  const held = (value) => Math.round(10 * Math.max(-EDGE, Math.min(EDGE, value))) / 10;
  const svg = make("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, width: SIDE, height: SIDE, class: "lab-plane", role: "group", "aria-label": title });
  svg.append(make("path", { d: `M0,${SIDE / 2} H${SIDE} M${SIDE / 2},0 V${SIDE}`, stroke: "currentColor", opacity: 0.3 }));
  for (const value of [-2, -1, 1, 2]) {
    const [x, y] = at([value, value]);
    for (const place of [{ x, y: SIDE / 2 + 11, "text-anchor": "middle" }, { x: SIDE / 2 + 4, y: y + 3 }])
      svg.append(make("text", { ...place, text: String(value).replace("-", "−"), "font-size": 9, fill: "currentColor", opacity: 0.7 }));
  }
  const arrows = vectors.map((vector, k) => {
    const line = make("line", { x1: SIDE / 2, y1: SIDE / 2, stroke: COLOURS[k], "stroke-width": 2 });
    const tip = make("circle", { r: changed ? 9 : 5, fill: COLOURS[k] });
    const name = make("text", { text: NAMES[k], "font-size": 12, fill: "currentColor" });
    svg.append(line, tip, name);
    if (changed) movable(tip, vector, k);
    return { line, tip, name };
  });
  const caption = make("figcaption", { text: changed ? `${title}: drag the dots` : title });

  function movable(tip, vector, k) {
    let mine = false;
    tip.setAttribute("tabindex", 0);
    tip.setAttribute("role", "button");
    tip.addEventListener("pointerdown", (event) => { mine = true; tip.setPointerCapture(event.pointerId); event.preventDefault(); });
    tip.addEventListener("pointerup", () => { mine = false; });
    tip.addEventListener("pointermove", (event) => {
      if (!mine) return;
      const box = svg.getBoundingClientRect();
      vector[0] = held(((event.clientX - box.left) / box.width - 0.5) * 2 * REACH);
      vector[1] = held((0.5 - (event.clientY - box.top) / box.height) * 2 * REACH);
      changed();
    });
    const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    tip.addEventListener("keydown", (event) => {
      if (!steps[event.key]) return;
      steps[event.key].forEach((step, axis) => { vector[axis] = held(vector[axis] + step); });
      event.preventDefault();
      changed();
    });
  }

  return {
    element: make("figure", {}, [svg, caption]),
    draw(now) {
      now.forEach((vector, k) => {
        const [x, y] = at(vector);
        const { line, tip, name } = arrows[k];
        line.setAttribute("x2", x);
        line.setAttribute("y2", y);
        tip.setAttribute("cx", x);
        tip.setAttribute("cy", y);
        name.setAttribute("x", x + 10);
        name.setAttribute("y", y - 8);
        if (changed) tip.setAttribute("aria-label", `${ONE[title]} of ${NAMES[k]}: ${vector.map((value) => value.toFixed(1)).join(", ")}; arrow keys move it`);
      });
    },
  };
}

/** One number of a token's stream, and what every branch has added to it. */
export function stream(element) {
  const { names, token, added } = JSON.parse(document.querySelector("#lab-stream-numbers").textContent); // added: (part, number)
  const ends = added[0].map((_, k) => Math.abs(sums(k).at(-1)));
  const which = make("input", { type: "range", min: 0, max: ends.length - 1, step: 1, value: ends.indexOf(Math.max(...ends)), oninput: draw });
  const told = make("output", { text: "0" });
  const table = make("table", { class: "lab-lens lab-sums" });
  element.replaceChildren(
    make("p", { text: token }),
    make("div", { class: "lab-row" }, [make("label", {}, [`which of its ${added[0].length} numbers`, which, told])]),
    make("div", { class: "lab-scroll", tabindex: 0, role: "group", "aria-label": "what each part adds" }, [table]),
  );
  draw();

  function draw() {
    const k = Number(which.value);
    told.textContent = k + 1;
    const most = Math.max(...Array.from({ length: added[0].length }, (_, j) => sums(j)).flat().map(Math.abs));
    let sum = 0;
    table.replaceChildren(make("tr", {}, ["part", "adds", "the stream is", "from below zero to above"].map(heading)),
      ...names.map((name, part) => {
        sum += added[part][k];
        const [left, width] = [50 + (50 * Math.min(0, sum)) / most, (50 * Math.abs(sum)) / most];
        return make("tr", {}, [
          make("th", { scope: "row", text: name }), make("td", { text: signed(added[part][k]) }), make("td", { text: signed(sum) }),
          make("td", { class: "lab-sum" }, [make("span", { class: "lab-fill", style: `margin-inline-start: ${left}%; width: ${width}%` })]),
        ]);
      }));
  }

  function sums(k) {
    let sum = 0;
    return added.map((part) => (sum += part[k]));
  }
}

/** The head of a column; an empty one is none. */
function heading(text) {
  return text ? make("th", { scope: "col", text }) : make("td");
}

/** Two decimals, without a minus before nothing. */
const plain = (value) => value.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
