// What tests/test_laboratory.py asks of the page: it is served beside the laboratory's modules.
import { init, jit, numpy as np, tree, valueAndGrad } from "/_static/live/jax/index.js";
import { scan } from "/_static/live/drawing.mjs";
import { readWeights } from "/_static/live/files.mjs";
import { layerOf, relevance as relevanceOf, rollout as rolloutOf, rowOf } from "/_static/live/maps.mjs";
import { loss, noMoments, trainStep } from "/_static/live/training.mjs";
import { vit } from "/_static/live/vit.mjs";

async function floats(name) {
  return new Float32Array(await (await fetch(`/given/${name}`)).arrayBuffer());
}

function largest(a, b, counts = () => true) {
  if (a.length !== b.length) return Infinity;
  return a.reduce((most, value, i) => (counts(i) ? Math.max(most, Math.abs(value - b[i])) : most), 0);
}

/** How far logits and looks of a shipped model are from those given. */
export async function same(name, shape) {
  await init("wasm");
  const file = await (await fetch(`/_static/live/${name}.safetensors`)).arrayBuffer();
  const { weights, config } = readWeights(file);
  const images = np.array(await floats("images")).reshape(shape);
  const found = jit((some, x) => vit(some, x, config))(weights, images);
  for (const unused of found.streams) unused.dispose();
  const looks = await np.stack(found.looks).data();
  return [largest(await found.logits.data(), await floats("logits")), largest(looks, await floats("looks"))];
}

/** Loss, gradients and weights after some steps, each against those given, by its own size. */
export async function learn(config, names, shapes, fixed, steps, batch, decay, clip) {
  await init("wasm");
  const all = {};
  for (const [i, name] of names.entries()) all[name] = np.array(await floats(`start${i}`)).reshape(shapes[i]);
  const some = (kept) => Object.fromEntries(names.filter(kept).map((name) => [name, all[name]]));
  const [still, weights] = [some((name) => fixed.includes(name)), some((name) => !fixed.includes(name))];
  const side = config.image_size;
  const given = async (k) => [
    np.array(await floats(`images${k}`)).reshape([batch, config.channels, side, side]),
    np.array(await floats(`targets${k}`)).reshape([batch, config.classes]),
  ];
  const far = async (mine, theirs) => {
    const [a, b] = [await mine.data(), await floats(theirs)];
    const size = Math.sqrt(b.reduce((sum, value) => sum + value * value, 0) / b.length);
    // a key's bias moves no softmax: its gradient is rounding, which AdamW blows up
    const counts = (i) => b.length !== 3 * config.dim || i < config.dim || i >= 2 * config.dim;
    return largest(a, b, counts) / (size || 1);
  };
  const [x, y] = await given(0);
  const [value, gradients] = valueAndGrad((w) => loss({ ...w, ...tree.ref(still) }, x.ref, y.ref, config))(tree.ref(weights));
  const found = { loss: (await value.data())[0], gradients: {}, weights: {} };
  for (const [i, name] of names.entries())
    if (gradients[name]) found.gradients[name] = await far(gradients[name], `gradient${i}`);
  const step = trainStep(config, { decay, clip });
  let state = { weights, moments: noMoments(weights) };
  for (let k = 0; k < steps; k++) {
    const warm = np.array([1 - 0.9 ** (k + 1), 1 - 0.999 ** (k + 1)]);
    const next = step(state, tree.ref(still), ...(await given(k)), np.array(0.004), warm);
    await next.loss.data();
    state = next.state;
  }
  for (const [i, name] of names.entries())
    if (state.weights[name]) found.weights[name] = await far(state.weights[name], `end${i}`);
  return found;
}

export function scans(...drawings) {
  return drawings.map((dots) => Array.from(scan(Uint8Array.from(dots))));
}

export function maps(looks, slopes, config) {
  const row = (table) => Array.from(rowOf(table, config));
  return {
    last: row(layerOf(looks, config, config.depth - 1)),
    rollout: row(rolloutOf(looks, config)),
    relevance: row(relevanceOf(looks, slopes, config)),
  };
}
