// Part two: a pad to draw a digit on, scanned as scikit-learn's digits were, answered at each stroke.
import { DOTS, scan, stroke } from "./drawing.mjs";
import { bars, colleague, fetched, ink, make, paint, percent, softmax } from "./page.mjs";

const PEN = 3; // radius, in dots: thinner strokes are scanned as grey, thicker ones close the loops
const NAMES = Array.from("0123456789");

export function drawing(element, shared) {
  const dots = new Uint8Array(DOTS * DOTS);
  let before, at = [DOTS / 2, DOTS / 2], down = false, asking = false, again = false, own;
  const pad = make("canvas", {
    class: "lab-pad", tabindex: 0, role: "application",
    "aria-label": "A pad to draw a digit on. Draw with the pointer, or move the orange dot with the arrow keys, and set the pen down or lift it with the space bar.",
    onpointerdown: (event) => { pad.setPointerCapture(event.pointerId); before = at = where(event); line(at, at); },
    onpointermove: (event) => { if (!before) return; at = where(event); line(before, at); before = at; },
    onpointerup: () => { before = undefined; },
    onpointercancel: () => { before = undefined; },
    onkeydown: keys,
    onfocus: draw,
    onblur: draw,
  });
  const small = make("canvas", { role: "img", "aria-label": "the drawing as the model gets it, 8 by 8", style: "width: 96px; height: 96px" });
  const said = make("div");
  const pen = make("p", { role: "status" });
  const says = make("p", { class: "lab-says", role: "status", text: "Draw a digit." });
  const whom = make("select", { onchange: answer }, [
    make("option", { value: "digits", text: "the book's model (chapter 5)" }),
    make("option", { value: "trained", text: "the one you train above" }),
  ]);
  element.replaceChildren(
    make("div", { class: "lab-row" }, [make("label", {}, ["asked is", whom]), make("button", { type: "button", text: "Clear", onclick: clear })]),
    make("div", { class: "lab-cols" }, [pad, make("div", {}, [small, said, says, pen])]),
  );
  document.querySelector("#lab-learning")?.addEventListener("learned", () => { if (whom.value === "trained" && dots.includes(1)) answer(); });
  draw();

  function where(event) {
    const box = pad.getBoundingClientRect();
    return [(DOTS * (event.clientX - box.left)) / box.width, (DOTS * (event.clientY - box.top)) / box.height];
  }

  function line(from, to) {
    stroke(dots, from, to, PEN);
    draw();
    answer();
  }

  function keys(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") {
      down = !down;
      pen.textContent = down ? "The pen is down." : "The pen is lifted.";
      if (down) line(at, at);
    } else if (steps[event.key]) {
      const to = at.map((value, axis) => Math.max(0, Math.min(DOTS - 1, value + steps[event.key][axis])));
      if (down) line(at, to);
      at = to;
      draw();
    } else return;
    event.preventDefault();
  }

  function clear() {
    dots.fill(0);
    [at, down, pen.textContent] = [[DOTS / 2, DOTS / 2], false, ""];
    said.replaceChildren();
    says.textContent = "Draw a digit.";
    draw();
  }

  function draw() {
    paint(pad, dots, DOTS, DOTS, (dot, i) => {
      const here = document.activeElement === pad && i === Math.floor(at[1]) * DOTS + Math.floor(at[0]);
      return here ? [213, 94, 0] : ink(dot);
    });
    paint(small, Float32Array.from(scan(dots), (count) => count / 16), 8, 8, ink);
  }

  /** One question at a time; what was drawn meanwhile is asked after it. */
  async function answer() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      await asked();
    } catch (error) {
      says.textContent = error.message;
    }
    asking = false;
    if (again) { again = false; answer(); }
  }

  async function asked() {
    if (whom.value === "trained" && !shared.ask) {
      says.textContent = "No model has been trained yet: press Train above, or ask the book's model.";
      return;
    }
    if (whom.value === "digits" && !own) {
      own = colleague();
      says.textContent = "The book's model comes: 0.24 MB.";
      await own("open", { name: "digits", buffer: await fetched("digits.safetensors") });
    }
    if (!dots.includes(1)) return;
    const ask = whom.value === "digits" ? own : shared.ask;
    const pixels = Float32Array.from(scan(dots), (count) => Math.round((count * 255) / 16) / 127.5 - 1);
    const { logits } = await ask("answer", { name: whom.value, pixels });
    const shares = softmax(logits);
    const best = shares.indexOf(Math.max(...shares));
    bars(said, NAMES, shares, 4);
    says.textContent = `${best}, with ${percent(shares[best])}.`;
  }
}
