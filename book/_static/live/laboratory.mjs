// The laboratory: a model that learns before your eyes, a pad to draw on, and a model cut open.
import { drawing } from "./pad.mjs";
import { opening } from "./opening.mjs";
import { fetched, make } from "./page.mjs";
import { learning } from "./learning.mjs";
import { pencil, stream } from "./pencil.mjs";

const STYLE = `
.lab { font: 15px/1.5 system-ui, sans-serif; }
.lab fieldset { border: 1px solid var(--pst-color-border, #999); border-radius: 6px; margin: 0 0 12px; padding: 8px 12px; min-width: 0; }
.lab legend { float: none; width: auto; font-size: 15px; font-weight: 600; margin: 0; padding: 0 4px; }
.lab-row { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin: 8px 0; }
.lab-cols { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px; align-items: start; }
.lab label { display: inline-flex; gap: 6px; align-items: center; min-height: 36px; }
.lab label { max-width: 100%; }
.lab select, .lab input[type="file"] { min-width: 0; max-width: 100%; }
.lab input, .lab select, .lab button { font: inherit; color: inherit; background: transparent; }
.lab select, .lab input[type="number"] { border: 1px solid currentColor; border-radius: 6px; padding: 4px 6px; max-width: 100%; }
.lab input[type="number"] { width: 6.5em; }
.lab select option { color: #000; background: #fff; }
.lab button { border: 1px solid currentColor; border-radius: 6px; padding: 4px 12px; min-height: 36px; cursor: pointer; }
.lab button[disabled] { opacity: .5; cursor: default; }
.lab button[aria-pressed="true"] { background: var(--pst-color-primary, #0a5); color: var(--pst-color-background, #fff); }
.lab-says { margin: 6px 0; min-height: 1.5em; }
.lab-wrong { border-inline-start: 4px solid #b3541e; padding-inline-start: 10px; }
.lab canvas { image-rendering: pixelated; background: #fff; }
.lab-chart { width: 100%; height: auto; display: block; }
.lab-chart text { font: 12px system-ui, sans-serif; fill: currentColor; }
.lab-chart .frame { stroke: currentColor; stroke-width: 1; opacity: .5; }
.lab-chart .before { stroke: currentColor; opacity: .35; fill: none; stroke-width: 1; }
.lab-chart .live { stroke: #d55e00; fill: none; stroke-width: 2; }
.lab-maps { display: flex; flex-wrap: wrap; gap: 10px; }
.lab-maps figure { margin: 0; }
.lab-maps figcaption { font-size: 13px; }
.lab-bar { display: grid; grid-template-columns: 6.5em 1fr 3em; gap: 8px; align-items: center; }
.lab-track { height: 12px; border: 1px solid currentColor; border-radius: 3px; overflow: hidden; }
.lab-fill { display: block; height: 100%; background: #0072b2; }
.lab-big { width: min(100%, 384px); aspect-ratio: 1; cursor: pointer; }
.lab .lab-whole { image-rendering: auto; touch-action: none; cursor: move; }
.lab-lens td, .lab-lens th { padding: 0 10px 0 0; font-weight: 400; text-align: left; }
.lab-pad { touch-action: none; cursor: crosshair; border: 1px solid currentColor; width: min(100%, 256px); aspect-ratio: 1; }
.lab-plane { border: 1px solid currentColor; max-width: 100%; height: auto; touch-action: pan-y; }
.lab-plane text { pointer-events: none; user-select: none; }
.lab-legend { font-size: 13px; margin: 6px 0; }
.lab-cols p { margin: 10px 0 4px; }
.lab-plane circle[tabindex] { cursor: grab; touch-action: none; }
.lab-scroll { overflow-x: auto; }
.lab-sum .lab-fill { height: 12px; }
.lab-sum { min-width: 160px; border-inline: 1px solid currentColor; background: linear-gradient(currentColor, currentColor) center / 1px 100% no-repeat; }
@media (max-width: 480px) {
  .lab-lens { font-size: 12px; }
  .lab-lens td, .lab-lens th { padding-inline-end: 6px; }
  .lab-sum { min-width: 90px; }
  .lab-plane { width: 40vw; }
}
.lab [hidden] { display: none; }
`;

/** Digits as the page carries them: bytes of pictures, then of labels. */
async function digits() {
  const bytes = new Uint8Array(await fetched("digits.bin"));
  const [train, test] = [1437, 360];
  const pixels = 64 * (train + test);
  return {
    train: { pixels: bytes.slice(0, 64 * train), labels: bytes.slice(pixels, pixels + train) },
    test: { pixels: bytes.slice(64 * train, pixels), labels: bytes.slice(pixels + train) },
  };
}

document.head.append(make("style", { text: STYLE }));
for (const still of document.querySelectorAll(".lab-needs, .lab-still")) still.hidden = true;
const parts = { learning, drawing, opening, pencil, stream };
const shared = { digits };
for (const [name, start] of Object.entries(parts)) {
  const element = document.querySelector(`#lab-${name}`);
  if (element) start(element, shared);
}
