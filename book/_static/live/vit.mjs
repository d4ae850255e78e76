// The book's Vision Transformer once more, in JavaScript: chapters 1 to 4, with their names.
// jax-js frees an array once a function has taken it; x.ref keeps it for one more use.
import { nn, numpy as np } from "./jax/index.js";

/** Chapter 1. (b, c, height, width) → (b, n, c · p · p): "b c (h p) (w q) -> b (h w) (c p q)". */
export function patchify(images, p) {
  const [b, c, height, width] = images.shape;
  const [h, w] = [height / p, width / p];
  const grid = images.reshape([b, c, h, p, w, p]).transpose([0, 2, 4, 1, 3, 5]);
  return grid.reshape([b, h * w, c * p * p]);
}

/** x W + b, along the last axis. PyTorch keeps W as (to, from); here it is (from, to): faster. */
export function linear(x, weight, bias) {
  const [from, to] = weight.shape;
  const shape = [...x.shape.slice(0, -1), to];
  const y = np.matmul(x.reshape([-1, from]), weight);
  return (bias ? y.add(bias) : y).reshape(shape);
}

/** Chapter 2. Images → tokens (b, n, D), the class token in front if there is one. */
export function embed(images, weights, { patch_size: p, pool }) {
  let tokens = linear(patchify(images, p), ...both(weights, "embeddings.patches.projection"));
  if (pool === "cls") {
    const [b, , dim] = tokens.shape;
    const first = np.broadcastTo(weights["embeddings.class_token"].ref, [b, 1, dim]);
    tokens = np.concatenate([first, tokens], 1);
  }
  return tokens.add(weights["embeddings.position"].ref);
}

/**
 * Chapter 3. q, k, v (b, heads, n, d) → output (b, heads, n, d) and weights (b, heads, n, n).
 * `hidden` is added to the scores and `added` to the weights: both are zeros, unless somebody
 * forbids a look or asks for a gradient.
 */
export function attention(q, k, v, hidden, added) {
  const d = q.shape.at(-1);
  const scores = np.matmul(q, np.matrixTranspose(k)).mul(d ** -0.5);
  const weights = nn.softmax(hidden ? scores.add(hidden) : scores, -1);
  const looks = added ? weights.add(added) : weights;
  const more = (4 - (v.shape.at(-2) % 4)) % 4; // the engine multiplies four at a time: add zeros
  const output = np.matmul(padded(looks.ref, [0, more]), padded(v, [more, 0]));
  return [output, looks];
}

/** Zeros after the last two axes' ends. */
function padded(x, [down, right]) {
  return down || right ? np.pad(x, [[0, 0], [0, 0], [0, down], [0, right]]) : x;
}

/** All heads of a layer: tokens (b, n, D) → the same, and the weights (b, heads, n, n). */
export function selfAttention(x, weights, layer, { heads }, change) {
  const [b, n, dim] = x.shape;
  const name = `blocks.${layer}.attn`;
  const split = linear(x, ...both(weights, `${name}.qkv`)).reshape([b, n, 3, heads, dim / heads]);
  const [q, k, v] = np.unstack(split.transpose([2, 0, 3, 1, 4])); // "three b heads n d"
  const [output, looks] = attention(q, k, v, change.hidden, change.added);
  const heard = change.heads ? output.mul(change.heads.reshape([heads, 1, 1])) : output;
  const joined = heard.transpose([0, 2, 1, 3]).reshape([b, n, dim]); // "b n (heads d)"
  return [linear(joined, ...both(weights, `${name}.out`)), looks];
}

/** Chapter 4. Every token to mean 0 and deviation 1, then to a scale and a shift that it learns. */
export function layerNorm(x, scale, shift) {
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
  return centred.div(np.sqrt(variance.add(1e-6))).mul(scale).add(shift);
}

/** Wide, GELU, back: each token alone. */
export function mlp(x, weights, layer) {
  const wide = linear(x, ...both(weights, `blocks.${layer}.mlp.fc1`));
  return linear(nn.gelu(wide, { approximate: false }), ...both(weights, `blocks.${layer}.mlp.fc2`));
}

/** Two branches, each with its norm in front, each added to the stream: equations 2 and 3. */
export function block(x, weights, layer, config, change) {
  const [look, think] = change.branches ? np.unstack(change.branches) : [];
  const normed = layerNorm(x.ref, ...both(weights, `blocks.${layer}.norm1`));
  const [heard, looks] = selfAttention(normed, weights, layer, config, change);
  const y = x.add(look ? heard.mul(look) : heard);
  const thought = mlp(layerNorm(y.ref, ...both(weights, `blocks.${layer}.norm2`)), weights, layer);
  return [y.add(think ? thought.mul(think) : thought), looks];
}

/** What the head makes of a stream: logits (b, classes). It reads a stream at any depth. */
export function read(stream, weights, { pool }) {
  const normed = layerNorm(stream, ...both(weights, "norm"));
  const y = pool === "cls" ? normed.slice([], 0) : np.mean(normed, 1);
  return linear(y, ...both(weights, "head"));
}

/**
 * The whole model. Images (b, c, height, width) → logits (b, classes), the attention of every
 * layer (b, heads, n, n), and the stream before the first block and after each (b, n, D).
 *
 * `change` intervenes, layer by layer: { hidden, added: (layers, heads, n, n), heads: (layers,
 * heads), branches: (layers, 2) }. Whatever is not in it stays as it is.
 */
export function vit(weights, images, config, change = {}) {
  const streams = [embed(images, weights, config)];
  const looks = [];
  for (let layer = 0; layer < config.depth; layer++) {
    const here = Object.fromEntries(Object.entries(change).map(([k, v]) => [k, v.ref.slice(layer)]));
    const [stream, look] = block(streams.at(-1).ref, weights, layer, config, here);
    streams.push(stream);
    looks.push(look);
  }
  return { logits: read(streams.at(-1).ref, weights, config), looks, streams };
}

/** Weight and bias of a layer, for one use. */
function both(weights, name) {
  return [weights[`${name}.weight`].ref, weights[`${name}.bias`]?.ref];
}
