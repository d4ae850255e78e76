// Trains and answers, beside the page: { id, ask, ... } comes in, { id, ... } or { id, error }
// goes back. While it trains it tells of every step by itself, { step, ... }.
import { grad, init, jit, numpy as np, tree } from "./jax/index.js";
import { complete, dice, initWeights, readWeights, shuffled } from "./files.mjs";
import { learningRate, noMoments, trainStep } from "./training.mjs";
import { read, vit } from "./vit.mjs";

const models = {}; // name → { weights, config, classes, look, slope }
const ready = started();
ready.catch(() => {}); // told to whoever asks
let training; // the one that runs, or stands still

async function started() {
  if (!globalThis.WebAssembly) throw new Error("This browser has no WebAssembly, or forbids it; the model needs it.");
  await init("wasm");
}

/** A model that can be asked; its programs compile at their first call. */
function model(weights, config, classes) {
  const look = jit((weights, images, change) => {
    const { logits, looks, streams } = vit(weights, images, config, change);
    const lens = streams.map((stream) => read(stream, weights, config));
    return { logits, looks: np.stack(looks), lens: np.stack(lens) };
  });
  const slope = jit((weights, images, wanted, change) =>
    grad((added) => {
      const { logits, looks, streams } = vit(weights, images, config, { ...change, added });
      for (const unused of [...looks, ...streams]) unused.dispose();
      return np.sum(logits.mul(wanted));
    })(change.added),
  );
  return { weights, config, classes, look, slope };
}

/** Interventions as arrays: all of them every time, so that one program serves all. */
function changed({ depth, heads, tokens }, change = {}) {
  const square = [depth, heads, tokens, tokens];
  const array = (values, shape, fill) => (values ? np.array(values).reshape(shape) : np.full(shape, fill));
  return {
    hidden: array(change.hidden, square, 0),
    added: array(undefined, square, 0),
    heads: array(change.heads, [depth, heads], 1),
    branches: array(change.branches, [depth, 2], 1),
  };
}

function images(pixels, { channels, image_size: side }) {
  return np.array(pixels).reshape([-1, channels, side, side]);
}

/** What a model says of one picture of numbers −1 to 1, and where it looks meanwhile. */
async function answer({ name, pixels, change, relevance, placeless }) {
  const { weights: own, config, classes, look, slope } = models[name];
  const weights = tree.ref(own);
  if (placeless) {
    weights["embeddings.position"].dispose();
    weights["embeddings.position"] = np.zeros(own["embeddings.position"].shape);
  }
  const kept = relevance === undefined ? undefined : tree.ref(weights);
  const found = look(weights, images(pixels, config), changed(config, change));
  const said = {
    config, classes,
    logits: await found.logits.data(),
    looks: await found.looks.data(), // (layer, 1, head, query, key)
    lens: await found.lens.data(), // (layer + 1, 1, class)
  };
  if (kept) {
    const wanted = np.array(Float32Array.from(classes, (_, k) => Number(k === relevance)));
    said.slopes = await slope(kept, images(pixels, config), wanted, changed(config, change)).data();
  }
  return said;
}

const SMOOTHING = 0.1;
const DECAY = 0.3;

/** Begin a training: settings as in a recipe, digits as bytes 0 to 255; `number` names it. */
function begin({ settings, train, test, number, wait }) {
  const { image_size = 8, patch_size = 2, dim, depth, heads, position, seed } = settings;
  const config = complete({
    image_size, patch_size, channels: 1, classes: 10, pool: "cls",
    dim, depth, heads, mlp_dim: 2 * dim, position,
  });
  const random = dice(seed);
  const weights = initWeights(config, random);
  const fixed = {};
  if (position !== "learned") {
    fixed["embeddings.position"] = weights["embeddings.position"];
    delete weights["embeddings.position"];
  }
  if (training) tree.dispose([training.state, training.fixed]);
  training = {
    config, settings, train, test, fixed, random, number, wait, running: false, order: [],
    done: 0, passed: 0, // steps, and epochs: with other digits an epoch has other steps
    state: { weights, moments: noMoments(weights) },
    step: trainStep(config, { decay: DECAY, clip: 1 }),
  };
  models.trained = model({}, config, Array.from("0123456789"));
  share();
  return { config, left: left() };
}

function perEpoch() {
  return Math.ceil(training.settings.count / training.settings.batch);
}

/** Steps that are still to be done. */
function left() {
  return Math.round((training.settings.epochs - training.passed) * perEpoch());
}

/** The model that answers is the one that learns. */
function share() {
  models.trained.weights = { ...training.state.weights, ...training.fixed };
}

/** A batch as chapter 5 makes it: in random order, each moved by up to `crop` pixels. */
function batch() {
  const { settings: { batch: size, count, crop }, random, train } = training;
  if (!training.order.length) training.order = shuffled(count, random);
  const chosen = training.order.slice(0, size);
  training.order = training.order.slice(size); // what is left of this epoch
  const pixels = new Float32Array(size * 64).fill(-1);
  const targets = new Float32Array(size * 10);
  chosen.forEach((image, i) => {
    const [down, right] = [0, 1].map(() => Math.floor(random() * (2 * crop + 1)) - crop);
    for (let y = 0; y < 8; y++)
      for (let x = 0; x < 8; x++) {
        const [row, column] = [y + down, x + right];
        if (row >= 0 && row < 8 && column >= 0 && column < 8)
          pixels[i * 64 + y * 8 + x] = train.pixels[image * 64 + row * 8 + column] / 127.5 - 1;
      }
    for (let k = 0; k < 10; k++)
      targets[i * 10 + k] = SMOOTHING / 10 + (k === train.labels[image] ? 1 - SMOOTHING : 0);
  });
  return [np.array(pixels).reshape([size, 1, 8, 8]), np.array(targets).reshape([size, 10])];
}

async function oneStep() {
  const { settings, done, number } = training;
  const steps = perEpoch() * settings.epochs;
  const rate = learningRate(steps - left(), steps, settings.rate, settings.warmup);
  const t = done + 1;
  const warm = np.array(new Float32Array([1 - 0.9 ** t, 1 - 0.999 ** t]));
  const { loss, state } = training.step(
    training.state, tree.ref(training.fixed), ...batch(), np.array(rate), warm,
  );
  let passed = training.passed + 1 / perEpoch();
  if (!training.order.length) passed = Math.round(passed);
  Object.assign(training, { state, done: t, passed });
  share();
  const told = { number, step: t, left: left(), passed: passed / settings.epochs, epoch: Math.ceil(passed) };
  told.loss = (await loss.data())[0];
  if (!training.order.length) told.accuracy = await accuracy();
  postMessage(told);
}

/** Share of the digits held out that the model names rightly. */
async function accuracy() {
  const { test, config } = training;
  training.name ??= jit((weights, some) => {
    const { logits, looks, streams } = vit(weights, some, config);
    for (const unused of [...looks, ...streams]) unused.dispose();
    return np.argmax(logits, -1);
  });
  const pixels = Float32Array.from(test.pixels, (value) => value / 127.5 - 1);
  const named = await training.name(tree.ref(models.trained.weights), images(pixels, config)).data();
  return named.reduce((sum, label, i) => sum + Number(label === test.labels[i]), 0) / named.length;
}

/** Steps until somebody says stop; between two of them messages are heard. */
async function run() {
  if (training.running) return;
  training.running = true;
  const mine = training;
  while (mine === training && training.running && left() > 0) {
    await oneStep();
    await new Promise((go) => setTimeout(go, training.wait)); // messages are heard meanwhile
  }
  if (mine === training) training.running = false;
}

/** The numbers a picture of the training is drawn from. */
async function show() {
  const { "embeddings.position": position, "embeddings.patches.projection.weight": filters } = models.trained.weights;
  return { position: await position.ref.data(), filters: await filters.ref.data(), config: training.config };
}

const TASKS = {
  open({ name, buffer }) {
    const { weights, config, classes } = readWeights(buffer);
    models[name] = model(weights, config, classes);
    return { config, classes };
  },
  answer,
  begin,
  run() { run(); },
  stop() { training.running = false; },
  step: oneStep,
  tune({ settings }) {
    if (settings.count !== training.settings.count) training.order = []; // other digits: a new epoch
    Object.assign(training.settings, settings);
    return { left: left() };
  },
  pace({ wait }) { training.wait = wait; },
  show,
};

let queue = Promise.resolve(); // one after the other
addEventListener("message", ({ data: { id, ask, ...rest } }) => {
  queue = queue.then(async () => {
    try {
      await ready;
      postMessage({ id, ...(await TASKS[ask](rest)) });
    } catch (error) {
      postMessage({ id, error: String(error.message ?? error) });
    }
  });
});
