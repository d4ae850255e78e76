// Chapter 5: a smoothed loss, a clipped gradient, AdamW with a schedule. Nothing here is random.
import { jit, nn, numpy as np, tree, valueAndGrad } from "./jax/index.js";
import { vit } from "./vit.mjs";

/** Up in a line for the first `warmup` share of the steps, then down along half a cosine. */
export function learningRate(step, steps, peak, warmup) {
  const rising = Math.max(1, Math.round(warmup * steps));
  if (step < rising) return (peak * (step + 1)) / rising;
  const done = (step - rising) / Math.max(1, steps - rising);
  return (peak * (1 + Math.cos(Math.PI * done))) / 2;
}

/**
 * Mean cross-entropy. `targets` (b, classes): the rows of real images sum to one, smoothed or
 * not; a row of zeros is an image that only fills the batch up.
 */
export function loss(weights, images, targets, config) {
  const { logits, looks, streams } = vit(weights, images, config);
  for (const unused of [...looks, ...streams]) unused.dispose();
  const said = np.sum(nn.logSoftmax(logits, -1).mul(targets.ref));
  return said.div(np.sum(targets)).neg();
}

/** AdamW for one tensor; `warm` holds 1 − 0.9ᵗ and 1 − 0.999ᵗ, since the averages begin at 0. */
function adamw(weight, gradient, [average, square], rate, decay, warm) {
  average = average.mul(0.9).add(gradient.ref.mul(0.1));
  square = square.mul(0.999).add(np.square(gradient).mul(0.001));
  const [first, second] = np.unstack(warm);
  const direction = average.ref.div(first).div(np.sqrt(square.ref.div(second)).add(1e-8));
  const kept = weight.mul(np.subtract(1, rate.ref.mul(decay)));
  return [kept.sub(direction.mul(rate)), [average, square]];
}

/**
 * A step: (state, fixed, images, targets, rate, warm) → { loss, state }, where state is
 * { weights, moments } and fixed are weights that do not learn. Compiled at its first call.
 */
export function trainStep(config, { decay, clip }) {
  return jit(({ weights, moments }, fixed, images, targets, rate, warm) => {
    const learned = tree.ref(weights);
    const [value, gradients] = valueAndGrad(
      (learning) => loss({ ...learning, ...fixed }, images, targets, config),
    )(weights);
    const squares = Object.values(gradients).map((gradient) => np.sum(np.square(gradient.ref)));
    const length = np.sqrt(squares.reduce((a, b) => a.add(b)));
    const scale = np.minimum(1, np.divide(clip, length.add(1e-6)));
    const next = { weights: {}, moments: {} };
    for (const [name, gradient] of Object.entries(gradients)) {
      const share = learned[name].shape.length === 2 ? decay : 0; // matrices alone decay
      [next.weights[name], next.moments[name]] = adamw(
        learned[name], gradient.mul(scale.ref), moments[name], rate.ref, share, warm.ref,
      );
    }
    for (const used of [scale, rate, warm]) used.dispose();
    return { loss: value, state: next };
  });
}

/** What AdamW begins with: zeros. */
export function noMoments(weights) {
  const zeros = (weight) => [np.zerosLike(weight.ref), np.zerosLike(weight.ref)];
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, zeros(weight)]));
}
