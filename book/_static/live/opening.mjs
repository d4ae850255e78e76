// Part three: a trained model cut open on any picture, and changed while it answers.
import { bars, colleague, fetched, make, paint, percent, softmax, viridis } from "./page.mjs";
import { layerOf, relevance, rollout, rowOf } from "./maps.mjs";
import { bitmapOf, pixelsOf, still } from "./pictures.mjs";

const MODELS = {
  cifar10: { title: "CIFAR-10", size: 4.8, pictures: ["chelsea", "astronaut", "coffee", "rocket"] },
  "digits-canvas": { title: "digits on a canvas", size: 0.9, pictures: ["canvas 1", "canvas 2", "canvas 3"] },
};
const ALSO = { chelsea: "a cat", astronaut: "an astronaut", coffee: "a cup of coffee", rocket: "a rocket" };
const NEVER = -1e9; // added to a score, it leaves no look
const OWN = "your own"; // among the pictures of the page
const MIDDLE = { size: 1, left: 0.5, top: 0.5 };

export function opening(element) {
  let ask, name, config, classes, original, bitmap, answered, loading, turn = 0, round = 0;
  const loaded = {};
  const crop = { ...MIDDLE };
  const covered = new Set(), cut = new Set();
  let order, from = "model", stored;

  const says = make("p", { class: "lab-says", role: "status", text: "Choose a model; its file comes then." });
  const which = select(["", ...Object.keys(MODELS)], (key) => (key ? `${MODELS[key].title}, ${MODELS[key].size} MB` : "no model yet"), () => load());
  const cancel = make("button", { type: "button", text: "Cancel", hidden: true });
  const picture = make("select", { onchange: () => given() });
  const file = make("input", { type: "file", accept: "image/*", onchange: () => file.files[0] && brought(() => bitmapOf(file.files[0])) });
  const camera = make("button", { type: "button", text: "Camera", onclick: () => brought(still) });
  const cropping = Object.keys(crop).map((key) => make("label", {}, [`crop: ${key}`, make("input", {
    type: "range", min: key === "size" ? 0.1 : 0, max: 1, step: 0.01, value: crop[key],
    oninput: (event) => { crop[key] = Number(event.target.value); cropped(); },
  })]));
  const whole = make("canvas", { class: "lab-whole", "aria-hidden": "true", onpointerdown: moved, onpointermove: (event) => event.buttons && moved(event) });
  const cropRow = make("div", { class: "lab-row", hidden: true }, [whole, ...cropping]);
  const canvas = make("canvas", { class: "lab-big", tabindex: 0, role: "application", onclick: pressed, onkeydown: keys,
    "aria-label": "The picture in patches. Move with the arrow keys; Enter does to a patch what the tool says." });
  const tool = select(["look", "cover", "cut"], (key) => ({ look: "show what it looks at", cover: "cover it", cut: "hide it from the others" })[key]);
  const kind = select(["look", "rollout", "relevance", "none"], (key) => ({ look: "looks of one layer", rollout: "rollout", relevance: "relevance for the answer", none: "no map" })[key], () => show());
  const layer = make("select", { onchange: () => show() });
  const head = make("select", { onchange: () => show() });
  const shuffle = toggle("Shuffle the patches", (on) => { order = on ? permuted(config.rows ** 2) : undefined; });
  const placeless = toggle("Positions off", () => {});
  const where = make("select", { onchange: () => again() });
  const silence = make("select", { onchange: () => again() });
  const restore = make("button", { type: "button", text: "Undo all", onclick: () => { covered.clear(); cut.clear(); from = "model"; reset(); again(); } });
  const knows = make("p"), whose = make("p", { class: "lab-legend" });
  const before = make("div"), now = make("div"), lens = make("table", { class: "lab-lens" });
  const body = make("div", { hidden: true }, [
    knows,
    make("div", { class: "lab-row" }, [label("picture", picture), label("your own", file), camera]), cropRow,
    make("div", { class: "lab-cols" }, [
      make("div", {}, [canvas, whose, make("div", { class: "lab-row" }, [label("press a patch to", tool)]),
        make("div", { class: "lab-row" }, [label("map", kind), label("layer", layer), label("head", head)]),
        make("p", { class: "lab-legend", text: "Each map by itself: the more, the yellower; where there is little, the picture shows through. White frame: the patch whose looks are shown. Orange frame: hidden from the others. Blue frame: where the keys are." })]),
      make("div", {}, [
        make("fieldset", {}, [make("legend", { text: "Intervene" }), make("div", { class: "lab-row" }, [shuffle, placeless]),
          make("div", { class: "lab-row" }, [label("silence", silence), label("hide in", where), restore])]),
        make("p", { text: "As it is" }), before, make("p", { text: "Changed" }), now,
        make("p", { text: "What the classifier reads after each layer" }), lens]),
    ]),
  ]);
  element.replaceChildren(make("div", { class: "lab-row" }, [label("model", which), cancel]), says, body);
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    const one = event.dataTransfer.files[0];
    if (one && config) brought(() => bitmapOf(one));
  });
  document.addEventListener("paste", (event) => {
    const one = event.clipboardData?.files[0];
    if (one && config) brought(() => bitmapOf(one));
  });

  function label(text, input) { return make("label", {}, [text, input]); }
  function select(keys, words, changed = () => {}) {
    return make("select", { onchange: changed }, keys.map((key) => make("option", { value: key, text: words(key) })));
  }
  function toggle(text, changed) {
    const button = make("button", { type: "button", text, "aria-pressed": "false", onclick: () => {
      const on = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(on));
      changed(on);
      again();
    } });
    return button;
  }
  const pressedIs = (button) => button.getAttribute("aria-pressed") === "true";
  function fill(list, entries) {
    list.replaceChildren(...entries.map(([value, text]) => make("option", { value, text })));
  }
  const numbered = (count, word) => Array.from({ length: count }, (_, k) => [k, `${word} ${k + 1}`]);

  async function load() {
    const wanted = which.value;
    loading?.abort(); // of two models the later one counts
    const stop = (loading = new AbortController());
    if (!wanted) {
      body.hidden = cancel.hidden = true;
      says.textContent = "Choose a model; its file comes then.";
      return;
    }
    cancel.hidden = false;
    cancel.onclick = () => stop.abort();
    try {
      ask ??= colleague();
      if (!loaded[wanted]) {
        const progress = (length, total) => { says.textContent = `${(length / 1e6).toFixed(1)} of ${((total || MODELS[wanted].size * 1e6) / 1e6).toFixed(1)} MB …`; };
        const buffer = await fetched(`${wanted}.safetensors`, progress, stop.signal);
        loaded[wanted] = await ask("open", { name: wanted, buffer });
      }
      stored ??= JSON.parse(new TextDecoder().decode(await fetched("pictures.json")));
      if (loading !== stop) return;
      name = wanted;
      ({ config, classes } = loaded[wanted]);
    } catch (error) {
      if (loading !== stop) return;
      says.textContent = stop.signal.aborted ? "Cancelled. Choose the model again whenever you like." : `${error.message} Is there a line? Choose the model again.`;
      which.value = "";
      return;
    } finally {
      if (loading === stop) cancel.hidden = true;
    }
    knows.textContent = `It knows ${classes.length} things: ${classes.join(", ")}. Whatever it is shown, it calls one of them.`;
    fill(picture, [...MODELS[name].pictures, ...(bitmap ? [OWN] : [])].map((one) => [one, ALSO[one] ?? one]));
    if (bitmap) picture.value = OWN;
    fill(layer, numbered(config.depth, "layer"));
    fill(head, [["mean", "average of all"], ...numbered(config.heads, "head")]);
    fill(where, [["all", "all layers"], ...numbered(config.depth, "layer")]);
    const heads = numbered(config.depth, "layer").flatMap(([l, text]) => numbered(config.heads, "head").map(([h, word]) => [`head ${l} ${h}`, `${text}, ${word}`]));
    const branches = numbered(config.depth, "layer").flatMap(([l, text]) => [[`branch ${l} 0`, `${text}, attention`], [`branch ${l} 1`, `${text}, MLP`]]);
    fill(silence, [["", "nothing"], ...branches, ...heads]);
    layer.value = config.depth - 1;
    body.hidden = false;
    given();
  }

  /** A picture of the page, as bytes; or the reader's own. */
  function given() {
    cropRow.hidden = picture.value !== OWN;
    if (picture.value === OWN) return cropped();
    const bytes = Uint8Array.from(atob(stored[picture.value]), (letter) => letter.charCodeAt(0));
    original = Float32Array.from(bytes, (value) => value / 127.5 - 1);
    fresh();
  }

  /** A picture that the reader brings; of two at once the later one counts. */
  async function brought(find) {
    const mine = ++turn;
    says.textContent = "Reading …";
    try {
      const found = await find();
      if (mine !== turn) return;
      bitmap = found;
      if (picture.lastChild.value !== OWN) picture.append(make("option", { value: OWN, text: OWN }));
      picture.value = OWN;
      cropRow.hidden = false;
      Object.assign(crop, MIDDLE);
      cropping.forEach((one, k) => { one.querySelector("input").value = Object.values(crop)[k]; });
      cropped();
    } catch (error) {
      if (mine === turn) says.textContent = error.message;
    }
    file.value = "";
  }

  function cropped() {
    original = pixelsOf(bitmap, config.image_size, config.channels, crop);
    overview();
    fresh();
  }

  /** The whole picture, and the square of it that the model gets. */
  function overview() {
    const scale = 160 / Math.max(bitmap.width, bitmap.height);
    [whole.width, whole.height] = [bitmap.width * scale, bitmap.height * scale];
    const context = whole.getContext("2d");
    context.drawImage(bitmap, 0, 0, whole.width, whole.height);
    const side = crop.size * Math.min(whole.width, whole.height);
    const box = [crop.left * (whole.width - side), crop.top * (whole.height - side), side, side];
    for (const [width, colour] of [[4, "#000"], [2, "#fff"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.strokeRect(...box);
    }
  }

  /** The square's middle goes where the pointer is. */
  function moved(event) {
    const side = crop.size * Math.min(whole.width, whole.height);
    const frame = whole.getBoundingClientRect();
    for (const [key, at, room] of [["left", event.clientX - frame.left, whole.width - side], ["top", event.clientY - frame.top, whole.height - side]])
      if (room > 0) crop[key] = Math.max(0, Math.min(1, (at - side / 2) / room));
    cropping.slice(1).forEach((one, k) => { one.querySelector("input").value = [crop.left, crop.top][k]; });
    cropped();
  }

  function fresh() {
    covered.clear();
    cut.clear();
    from = "model";
    reset();
    answered = undefined;
    round++; // what is being answered belongs to another picture
    again();
  }

  function reset() {
    order = undefined;
    for (const button of [shuffle, placeless]) button.setAttribute("aria-pressed", "false");
    silence.value = "";
    where.value = "all";
  }

  /** The picture as the model gets it: patches in their order, covered ones grey. */
  function changedPixels() {
    const { image_size: side, patch_size: p, channels, rows } = config;
    const pixels = new Float32Array(original.length);
    for (let place = 0; place < rows * rows; place++) {
      const source = order ? order[place] : place;
      for (let c = 0; c < channels; c++)
        for (let i = 0; i < p * p; i++) {
          const at = (one) => c * side * side + (Math.floor(one / rows) * p + Math.floor(i / p)) * side + (one % rows) * p + (i % p);
          pixels[at(place)] = covered.has(place) ? 0 : original[at(source)];
        }
    }
    return pixels;
  }

  function interventions() {
    const { depth, heads, tokens, pool } = config;
    const change = { heads: new Float32Array(depth * heads).fill(1), branches: new Float32Array(depth * 2).fill(1) };
    const [what, at, which] = silence.value.split(" ");
    if (what === "head") change.heads[at * heads + Number(which)] = 0;
    if (what === "branch") change.branches[at * 2 + Number(which)] = 0;
    if (cut.size) {
      change.hidden = new Float32Array(depth * heads * tokens * tokens);
      const first = pool === "cls" ? 1 : 0;
      for (let l = 0; l < depth; l++) {
        if (where.value !== "all" && Number(where.value) !== l) continue;
        for (let h = 0; h < heads; h++)
          for (const patch of cut)
            for (let q = 0; q < tokens; q++)
              if (q !== patch + first) change.hidden[((l * heads + h) * tokens + q) * tokens + patch + first] = NEVER;
      }
    }
    return change;
  }

  const untouched = () => !covered.size && !cut.size && !order && !silence.value && !pressedIs(placeless);

  let asking = false, wanted = false;
  async function again() {
    if (asking) { wanted = true; return; }
    asking = true;
    const started = performance.now(), mine = round;
    try {
      if (!answered) {
        says.textContent = "The model looks …";
        const plain = await ask("answer", { name, pixels: original });
        if (mine !== round) throw new Error("another picture has come");
        const shares = softmax(plain.logits);
        answered = { best: shares.indexOf(Math.max(...shares)), shares };
      }
      const found = await ask("answer", { name, pixels: changedPixels(), change: interventions(), placeless: pressedIs(placeless),
        relevance: kind.value === "relevance" ? answered.best : undefined });
      if (mine !== round) throw new Error("another picture has come");
      Object.assign(answered, { looks: found.looks, slopes: found.slopes, lens: found.lens, changed: softmax(found.logits) });
      show(Math.round(performance.now() - started));
    } catch (error) {
      if (mine === round) says.textContent = error.message;
      else wanted = true;
    }
    asking = false;
    if (wanted) { wanted = false; again(); }
  }

  function mapNow() {
    if (kind.value === "none") return undefined;
    if (kind.value === "rollout") return rowOf(rollout(answered.looks, config), config, from);
    if (kind.value === "relevance") return answered.slopes && rowOf(relevance(answered.looks, answered.slopes, config), config, from);
    return rowOf(layerOf(answered.looks, config, Number(layer.value), head.value === "mean" ? "mean" : Number(head.value)), config, from);
  }

  function show(milliseconds) {
    if (!answered?.changed) return;
    if (kind.value === "relevance" && !answered.slopes) { again(); return; }
    const { shares, changed, best } = answered;
    layer.disabled = head.disabled = kind.value !== "look";
    const likely = shares.map((share, k) => Math.max(share, changed[k])); // the same four in both
    bars(before, classes, shares, 4, likely);
    bars(now, classes, changed, 4, likely);
    const moved = changed.indexOf(Math.max(...changed));
    says.textContent = untouched()
      ? `${classes[best]}, with ${percent(shares[best])}. Now change something.`
      : `${classes[best]} goes from ${percent(shares[best])} to ${percent(changed[best])}`
        + (moved === best ? "; it stays the answer." : `; the answer is ${classes[moved]} now.`);
    if (milliseconds) says.dataset.milliseconds = milliseconds;
    const read = Array.from({ length: config.depth + 1 }, (_, k) => softmax(answered.lens.slice(k * classes.length, (k + 1) * classes.length)));
    lens.replaceChildren(...read.map((row, k) => {
      const top = row.indexOf(Math.max(...row));
      return make("tr", {}, [make("th", { scope: "row", text: k ? `layer ${k}` : "embedding" }), make("td", { text: classes[top] }), make("td", { text: percent(row[top]) })]);
    }));
    picturePainted();
  }

  let mark = 0; // where the keyboard is
  function picturePainted() {
    const { image_size: side, patch_size: p, channels, rows } = config;
    const pixels = changedPixels(), map = mapNow();
    const top = map && Math.max(...map);
    const zoom = 8, size = side * zoom;
    canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    const small = make("canvas");
    paint(small, Array(side * side), side, side, (_, i) => [0, 1, 2].map((c) => 127.5 * (1 + pixels[(channels === 1 ? 0 : c) * side * side + i])));
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, size, size);
    for (let k = 0; k < rows * rows; k++) {
      const [x, y] = [(k % rows) * p * zoom, Math.floor(k / rows) * p * zoom];
      if (map) {
        const share = map[k] / top; // what is hardly looked at stays visible
        context.fillStyle = `rgba(${viridis(share)}, ${0.15 + 0.55 * share})`;
        context.fillRect(x, y, p * zoom, p * zoom);
      }
      const frame = (colour, inset) => { context.strokeStyle = colour; context.lineWidth = 2; context.strokeRect(x + inset, y + inset, p * zoom - 2 * inset, p * zoom - 2 * inset); };
      if (cut.has(k)) frame("#d55e00", 2);
      if (k === from) frame("#fff", 4);
      if (k === mark && document.activeElement === canvas) frame("#56b4e9", 1);
    }
    whose.textContent = map ? `Shown: ${shown()}.` : "";
  }

  /** Whose map it is, in words. */
  function shown() {
    const one = config.pool === "cls" ? "the class token" : "the mean of all patches";
    const whom = from === "model" ? one : `the patch in row ${Math.floor(from / config.rows)}, column ${from % config.rows}, counted from 0,`;
    if (kind.value === "rollout") return `what ${whom} is mixed from, by rollout`;
    if (kind.value === "relevance") return `what counts for ${classes[answered.best]} in ${whom.replace(/,$/, "")}`;
    return `layer ${Number(layer.value) + 1}, ${head.value === "mean" ? "average of all heads" : `head ${Number(head.value) + 1}`}: where ${whom} looks`;
  }

  function act(patch) {
    const sets = { cover: covered, cut };
    if (tool.value === "look") {
      from = from === patch ? "model" : patch;
      kind.value = kind.value === "none" ? "look" : kind.value;
      show();
      return;
    }
    const set = sets[tool.value];
    set.has(patch) ? set.delete(patch) : set.add(patch);
    again();
  }

  function pressed(event) {
    const box = canvas.getBoundingClientRect();
    const [column, row] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.floor(share * config.rows));
    mark = row * config.rows + column;
    act(mark);
  }

  function keys(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Enter" || event.key === " ") act(mark);
    else if (steps[event.key]) {
      const held = (value) => Math.max(0, Math.min(config.rows - 1, value));
      mark = held(Math.floor(mark / config.rows) + steps[event.key][1]) * config.rows + held((mark % config.rows) + steps[event.key][0]);
      picturePainted();
    } else return;
    event.preventDefault();
  }

  function permuted(count) {
    const drawn = Array.from({ length: count }, (_, k) => [Math.random(), k]);
    return drawn.sort((a, b) => a[0] - b[0]).map(([, k]) => k);
  }
}
