// Chapter 6's maps, from what a model tells of its looks; looks are (layer, head, query, key).

/** Looks of one layer, as an average over heads or of one head: (query, key). */
export function layerOf(looks, { heads, tokens }, layer, head = "mean") {
  const square = tokens * tokens;
  const table = new Float32Array(square);
  const some = head === "mean" ? Array.from({ length: heads }, (_, k) => k) : [head];
  for (const k of some)
    for (let i = 0; i < square; i++) table[i] += looks[(layer * heads + k) * square + i] / some.length;
  return table;
}

/** A query's row, patches only. `query` is a patch, or "model" for what the model reads. */
export function rowOf(table, { tokens, pool }, query = "model") {
  const first = pool === "cls" ? 1 : 0;
  const row = (token) => table.slice(token * tokens + first, (token + 1) * tokens);
  if (query !== "model") return row(query + first);
  if (pool === "cls") return row(0);
  const mean = new Float32Array(tokens);
  for (let token = 0; token < tokens; token++) row(token).forEach((value, k) => { mean[k] += value / tokens; });
  return mean;
}

/** Attention rollout (Abnar and Zuidema 2020): half look, half residual, multiplied up. */
export function rollout(looks, config) {
  let joint;
  for (let layer = 0; layer < config.depth; layer++) {
    const step = layerOf(looks, config, layer).map((value) => value / 2);
    for (let i = 0; i < config.tokens; i++) step[i * (config.tokens + 1)] += 0.5;
    joint = joint ? product(step, joint, config.tokens) : step;
  }
  return joint;
}

/** Relevance (Chefer et al. 2021): looks times their slopes, positive parts, added up. */
export function relevance(looks, slopes, config) {
  const { depth, heads, tokens } = config;
  const square = tokens * tokens;
  let total = identity(tokens);
  for (let layer = 0; layer < depth; layer++) {
    const step = new Float32Array(square);
    for (let head = 0; head < heads; head++)
      for (let i = 0; i < square; i++) {
        const at = (layer * heads + head) * square + i;
        step[i] += Math.max(0, looks[at] * slopes[at]) / heads;
      }
    const more = product(step, total, tokens);
    total = total.map((value, i) => value + more[i]);
  }
  for (let i = 0; i < tokens; i++) total[i * (tokens + 1)] -= 1;
  return total;
}

function identity(n) {
  const one = new Float32Array(n * n);
  for (let i = 0; i < n; i++) one[i * (n + 1)] = 1;
  return one;
}

function product(a, b, n) {
  const c = new Float32Array(n * n);
  for (let i = 0; i < n; i++)
    for (let k = 0; k < n; k++) {
      const value = a[i * n + k];
      if (value) for (let j = 0; j < n; j++) c[i * n + j] += value * b[k * n + j];
    }
  return c;
}
