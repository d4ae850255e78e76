// Part one: train a model in the page, and watch it learn.
import { colleague, diverging, ink, make, paint, percent, softmax, viridis } from "./page.mjs";

// A recipe as chapter 5 has it. What cannot change while a model learns starts it anew.
const SETTINGS = {
  seed: { label: "seed", value: 0, min: 0, max: 999, anew: true },
  depth: { label: "blocks", value: 3, min: 1, max: 6, anew: true },
  dim: { label: "width", value: 48, choices: [24, 48, 96], anew: true },
  heads: { label: "heads", value: 4, choices: [1, 2, 4, 6], anew: true },
  position: { label: "positions", value: "sincos", choices: ["sincos", "learned", "none"], anew: true },
  count: { label: "training digits", value: 1437, min: 64, max: 1437 },
  rate: { label: "learning rate", value: 0.004, min: 0, max: 1, step: "any" },
  warmup: { label: "warm-up, share of all steps", value: 0.1, min: 0, max: 0.9, step: 0.05 },
};
const FIXED = { batch: 64, epochs: 60, crop: 1 };

/** What settings off the recipe lead to, each with the place that says why. */
const REMARKS = [
  [(s) => s.rate >= 0.04, "rate"],
  [(s) => s.warmup === 0, "warmup"],
  [(s) => s.position === "none", "none"],
  [(s) => s.count <= 360, "few"],
];

export function learning(element, shared) {
  let ask, config, data, latest, chosen = 0, busy = false, seconds = 0, number = 0;
  const losses = [], accuracies = [];
  const inputs = {};
  const says = make("p", { class: "lab-says", role: "status", text: "Nothing has been trained yet. Engine and digits, 0.7 MB, come when you press Train." });
  const held = make("p", { role: "status" });
  let at = 0, left = 0; // steps done, and how many the settings still ask for
  const remarks = make("div");
  const go = make("button", { type: "button", text: "Train", onclick: () => toggle() });
  const one = make("button", { type: "button", text: "One step", onclick: () => step() });
  const anew = make("button", { type: "button", text: "Start again", onclick: () => begin() });
  const pace = make("select", { onchange: () => ask?.("pace", { wait: Number(pace.value) }) }, [
    make("option", { value: 0, text: "as fast as it goes" }), make("option", { value: 200, text: "slowly" }),
  ]);
  const fields = Object.entries(SETTINGS).map(([name, { label, value, choices, anew: fresh, ...limits }]) => {
    const input = choices
      ? make("select", {}, choices.map((one) => make("option", { value: one, text: one, selected: one === value })))
      : make("input", { type: "number", value, ...limits });
    input.addEventListener("change", () => change(fresh));
    inputs[name] = input;
    return make("label", {}, [label, input]);
  });
  const chart = curves(JSON.parse(document.querySelector("#lab-recorded").textContent));
  const maps = make("div", { class: "lab-maps" });
  const digit = make("button", { type: "button", text: "Another digit", onclick: () => { chosen = (chosen + 1) % 360; draw(); } });
  element.replaceChildren(
    make("fieldset", {}, [make("legend", { text: "Recipe" }), make("div", { class: "lab-row" }, fields), held]),
    make("div", { class: "lab-row" }, [go, one, anew, make("label", {}, ["pace", pace])]),
    says, remarks, chart.element, make("div", { class: "lab-row" }, [digit]), maps,
    make("p", { class: "lab-legend", text: "Looks: yellow is most, violet least, each map by itself. Positions: yellow is alike, violet least alike. Filters: red is above zero, blue below." }),
  );
  remark();

  function settings() {
    const read = ([name, input]) => [name, name === "position" ? input.value : Number(input.value)];
    return { ...Object.fromEntries(Object.entries(inputs).map(read)), ...FIXED };
  }

  /** Settings out of their range are set to its edge, counts to whole numbers; and said so. */
  function checked() {
    const said = [];
    for (const [name, { min, max, step, label, value: usual }] of Object.entries(SETTINGS)) {
      const input = inputs[name];
      if (min === undefined) continue;
      const value = input.value === "" ? NaN : Number(input.value);
      const near = Math.min(max, Math.max(min, step ? value : Math.round(value)));
      if (near === value) continue;
      input.value = Number.isNaN(near) ? usual : near;
      said.push(`${label[0].toUpperCase()}${label.slice(1)}: ${input.value} is taken, of ${min} to ${max}.`);
    }
    held.textContent = said.join(" ");
    if (inputs.dim.value % inputs.heads.value) {
      says.textContent = `A width of ${inputs.dim.value} is not divisible by ${inputs.heads.value} heads: every head needs an equal share. Choose others.`;
      return false;
    }
    return true;
  }

  function remark() {
    const found = REMARKS.filter(([holds]) => holds(settings()));
    const words = found.map(([, name]) => document.querySelector(`#lab-remark-${name}`).content.cloneNode(true));
    remarks.replaceChildren(...words);
  }

  async function change(fresh) {
    if (!checked()) return;
    remark();
    if (!ask) return;
    if (fresh) await begin();
    else {
      left = (await told(ask("tune", { settings: settings() })))?.left ?? left;
      if (latest) tell();
    }
  }

  /** What goes wrong in the worker is said, and the page stays alive. */
  async function told(promise) {
    try {
      return await promise;
    } catch (error) {
      says.textContent = error.message;
      running(false);
    }
  }

  async function begin() {
    if (!checked()) return;
    says.textContent = "Starting …";
    ask ??= shared.ask = colleague(stepped);
    data ??= await told(shared.digits());
    if (!data) return;
    running(false);
    losses.length = accuracies.length = 0;
    seconds = 0;
    latest = undefined;
    number++; // steps of the one before are not this one's
    const begun = await told(ask("begin", { settings: settings(), number, wait: Number(pace.value), ...data }));
    if (!begun) return;
    config = begun.config;
    [at, left] = [0, begun.left];
    says.textContent = `A new model of ${config.depth} ${config.depth > 1 ? "blocks" : "block"}, its weights drawn at random. Nothing learned yet.`;
    chart.draw(losses, accuracies);
    await draw();
    return true;
  }

  async function toggle() {
    if (!config && !(await begin())) return;
    const now = go.textContent === "Train";
    if (now && ended()) return;
    running(now);
    if (now && !at) says.textContent = "The step is being compiled …";
    await told(ask(now ? "run" : "stop"));
  }

  async function step() {
    if (!config && !(await begin())) return;
    running(false);
    if (ended()) return;
    await told(ask("stop"));
    await told(ask("step"));
    await draw();
  }

  /** Whether there is nothing left to do; said, if so. */
  function ended() {
    if (left > 0) return false;
    says.textContent = `${at} steps are done, and none is left. Start again for a new model.`;
    return true;
  }

  function running(now) {
    go.textContent = now ? "Pause" : "Train";
    started = performance.now();
  }
  let started = performance.now();

  function stepped(news) {
    if (news.number !== number) return;
    latest = news;
    ({ step: at, left } = news);
    losses.push([news.passed, news.loss]);
    seconds += (performance.now() - started) / 1000;
    started = performance.now();
    if (news.accuracy !== undefined) accuracies.push([news.passed, news.accuracy]);
    tell();
    if (!left) running(false);
    if (at % 10 === 0 || news.accuracy !== undefined) {
      chart.draw(losses, accuracies);
      if (!busy) draw();
    }
    element.dispatchEvent(new CustomEvent("learned"));
  }

  function tell() {
    const last = accuracies.at(-1);
    says.textContent = `Epoch ${latest.epoch}, step ${at} of ${at + left}, ${Math.round(seconds)} s: loss ${latest.loss.toFixed(2)}`
      + (last ? `, ${(100 * last[1]).toFixed(1)}% of the digits held out are named rightly.` : ".")
      + (left && at >= 20 ? ` About ${toGo((seconds / at) * left)} to go.` : "");
  }

  /** The chosen digit, where the class token looks, the positions, the filters. */
  async function draw() {
    if (!config) return; // nothing has been trained yet
    busy = true;
    const pixels = Float32Array.from(data.test.pixels.subarray(64 * chosen, 64 * chosen + 64), (v) => v / 127.5 - 1);
    const found = await told(ask("answer", { name: "trained", pixels }));
    const shown = await told(ask("show"));
    busy = false;
    if (!found || !shown) return;
    const { heads, tokens, rows, dim, depth } = config;
    const shares = softmax(found.logits);
    const best = shares.indexOf(Math.max(...shares));
    const figures = [figure(8, 8, Float32Array.from(pixels, (v) => (v + 1) / 2), ink,
      `a ${data.test.labels[chosen]}, named ${best} with ${percent(shares[best])}`)];
    for (let layer = 0; layer < depth; layer++) {
      const row = new Float32Array(tokens - 1);
      for (let head = 0; head < heads; head++)
        for (let key = 1; key < tokens; key++) // the class token's row, without itself
          row[key - 1] += found.looks[((layer * heads + head) * tokens + 0) * tokens + key] / heads;
      const top = Math.max(...row);
      figures.push(figure(rows, rows, row.map((v) => v / top), viridis, `class token, layer ${layer + 1}`));
    }
    if (inputs.position.value !== "none") {
      const alike = similarities(shown.position, dim, tokens);
      const least = Math.min(...alike);
      const caption = `positions: similarity of each two, ${least.toFixed(1).replace("-", "−")} to 1`;
      figures.push(figure(tokens - 1, tokens - 1, alike.map((one) => (one - least) / (1 - least || 1)), viridis, caption));
    }
    figures.push(figure(...tiles(shown.filters, dim), "filters of the first layer"));
    maps.replaceChildren(...figures);
  }
}

const toGo = (seconds) => (seconds < 90 ? `${Math.ceil(seconds / 10) * 10} s` : `${Math.round(seconds / 60)} minutes`);

function figure(height, width, values, colour, caption) {
  const canvas = make("canvas", { role: "img", "aria-label": caption, style: `width: ${width > 16 ? 160 : 96}px; height: ${(width > 16 ? 160 : 96) * (height / width)}px` });
  paint(canvas, values, height, width, colour);
  return make("figure", {}, [canvas, make("figcaption", { text: caption })]);
}

/** Cosines of each two patches' rows of the position table; 0 where the table is empty. */
function similarities(table, dim, tokens) {
  const rows = Array.from({ length: tokens - 1 }, (_, i) => table.slice((i + 1) * dim, (i + 2) * dim));
  const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
  return rows.flatMap((a) => rows.map((b) => dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1)));
}

/** A filter of 2 × 2 for every number of a token, side by side with a gap: [height, width, values, colour]. */
function tiles(filters, dim) {
  const across = 8;
  const [height, width] = [3 * Math.ceil(dim / across), 3 * across];
  const values = new Float32Array(height * width);
  const top = filters.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (let k = 0; k < dim; k++)
    for (let i = 0; i < 4; i++)
      values[(3 * Math.floor(k / across) + Math.floor(i / 2)) * width + 3 * (k % across) + (i % 2)] = filters[i * dim + k] / top;
  return [height, width, values, diverging];
}

/** Two panels, loss and accuracy: what was recorded for chapter 5 in grey, what happens now in colour. */
function curves(recorded) {
  const loss = panel("loss, up to 2.5: epochs in grey, batches in orange", 2.5, [[0, "0"], [1, "1"], [2, "2"]], recorded.map((run) => run.loss));
  const accuracy = panel("held out, named rightly", 1, [[0, "0%"], [0.5, "50%"], [1, "100%"]], recorded.map((run) => run.accuracy));
  return {
    element: make("div", { class: "lab-cols" }, [loss.element, accuracy.element]),
    draw(losses, accuracies) { // each with the share of all epochs that had passed
      const every = Math.max(1, Math.floor(losses.length / 300));
      loss.draw(losses.filter((_, k) => k % every === 0));
      accuracy.draw(accuracies);
    },
  };
}

function panel(title, most, marks, runs) {
  const x = (share) => 44 + 300 * share;
  const y = (value) => 180 - (150 * Math.min(value, most)) / most;
  const points = (some) => some.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const live = make("polyline", { class: "live" });
  const element = make("svg", {
    class: "lab-chart", viewBox: "0 0 360 210", role: "img",
    "aria-label": `${title} over 60 epochs: in grey as recorded for chapter 5, in orange the model that learns here`,
  }, [
    make("text", { x: x(0), y: 18, text: title }),
    make("path", { class: "frame", fill: "none", d: `M${x(0)},${y(most)} V${y(0)} H${x(1)}` }),
    ...marks.map(([value, name]) => make("text", { x: x(0) - 6, y: y(value) + 4, "text-anchor": "end", text: name })),
    make("text", { x: x(0), y: 198, text: "epoch 0" }), make("text", { x: x(1), y: 198, "text-anchor": "end", text: "60" }),
    ...runs.map((run) => make("polyline", { class: "before", points: points(run.map((value, k) => [(k + 1) / run.length, value])) })),
    live,
  ]);
  return { element, draw: (some) => live.setAttribute("points", points(some)) };
}
