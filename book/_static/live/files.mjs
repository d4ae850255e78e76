// What a model is made of: read from a file, or drawn at random as chapter 4 does.
import { numpy as np } from "./jax/index.js";

/**
 * Read a .safetensors file of vitbook: { weights, config, classes }. A header of JSON, then
 * float32 numbers.
 *
 * @throws {Error} it is no such file
 */
export function readWeights(buffer) {
  const length = buffer.byteLength > 8 ? Number(new DataView(buffer).getBigUint64(0, true)) : Infinity;
  if (!(8 + length <= buffer.byteLength)) throw new Error("This is not a whole .safetensors file.");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { __metadata__: about = {}, ...entries } = header;
  if (!about.config) throw new Error("The file does not say which model it holds: vitbook did not write it.");
  const weights = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}; float32 is read here.`);
    const values = new Float32Array(buffer.slice(8 + length + from, 8 + length + to));
    weights[name] = shape.length === 2 ? turned(values, shape) : np.array(values).reshape(shape);
  }
  const config = complete(JSON.parse(about.config));
  return { weights, config, classes: JSON.parse(about.classes ?? "null") ?? numbers(config.classes) };
}

/** A matrix as PyTorch keeps it, (to, from), as the one that linear() multiplies with. */
export function turned(values, [to, from]) {
  const matrix = Float32Array.from(values, (_, i) => values[(i % to) * from + Math.floor(i / to)]);
  return np.array(matrix).reshape([from, to]);
}

/** A configuration with its grid and its number of tokens. */
export function complete(config) {
  const rows = config.image_size / config.patch_size;
  return { ...config, rows, tokens: rows * rows + (config.pool === "cls" ? 1 : 0) };
}

function numbers(count) {
  return Array.from({ length: count }, (_, i) => String(i));
}

/** A source of random numbers from 0 to 1 that a seed repeats (mulberry32). */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers 0 to count − 1 in random order. */
export function shuffled(count, random) {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Chapter 2's table: sines and cosines of the row, then of the column; zeros for the class token. */
export function sincos(rows, dim) {
  const table = new Float32Array((rows * rows + 1) * dim);
  for (let place = 0; place < rows * rows; place++)
    for (let k = 0; k < dim / 4; k++) {
      const frequency = 10000 ** (-k / (dim / 4));
      [Math.floor(place / rows), place % rows].forEach((step, axis) => {
        const at = (place + 1) * dim + (axis * dim) / 2 + k;
        table[at] = Math.sin(step * frequency);
        table[at + dim / 4] = Math.cos(step * frequency);
      });
    }
  return table;
}

/** Weights as chapter 4 starts them: Xavier's rule, zero biases, a small head. */
export function initWeights(config, random) {
  const { dim, depth, mlp_dim: wide, classes, channels, patch_size: p, tokens, rows } = config;
  const weights = {};
  const fill = (shape, draw) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    return np.array(draw ? values.map(draw) : values).reshape(shape);
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const small = () => {
    for (;;) { const x = normal(); if (Math.abs(x) < 2) return 0.02 * x; }
  };
  const linear = (name, to, from, draw) => {
    const edge = Math.sqrt(6 / (from + to));
    weights[`${name}.weight`] = fill([from, to], draw ?? (() => edge * (2 * random() - 1)));
    weights[`${name}.bias`] = fill([to]);
  };
  const norm = (name) => {
    weights[`${name}.weight`] = fill([dim], () => 1);
    weights[`${name}.bias`] = fill([dim]);
  };
  linear("embeddings.patches.projection", dim, channels * p * p);
  weights["embeddings.class_token"] = fill([1, 1, dim]);
  const table = { sincos: () => np.array(sincos(rows, dim)).reshape([1, tokens, dim]),
    learned: () => fill([1, tokens, dim], small), none: () => fill([1, tokens, dim]) };
  weights["embeddings.position"] = table[config.position]();
  for (let i = 0; i < depth; i++) {
    norm(`blocks.${i}.norm1`);
    linear(`blocks.${i}.attn.qkv`, 3 * dim, dim);
    linear(`blocks.${i}.attn.out`, dim, dim);
    norm(`blocks.${i}.norm2`);
    linear(`blocks.${i}.mlp.fc1`, wide, dim);
    linear(`blocks.${i}.mlp.fc2`, dim, wide);
  }
  norm("norm");
  linear("head", classes, dim, small);
  return weights;
}
