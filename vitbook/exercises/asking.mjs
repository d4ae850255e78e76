// Questions that take an answer first. ask(element, data) draws some, tally(element, data)
// counts what was foreseen. On the site what lies below a prediction waits for the answer, and
// the browser remembers it; elsewhere an output can neither hide another nor remember.

const STYLE = `
.va { font: 15px/1.5 system-ui, sans-serif; max-width: 760px; color: inherit; }
.va fieldset { border: 1px solid currentColor; border-radius: 6px; padding: 8px 14px; margin: 0 0 12px; }
.va legend { float: left; width: 100%; padding: 0; margin: 0 0 6px; font: inherit; font-weight: 600; }
.va legend + * { clear: both; }
.va fieldset fieldset { margin: 8px 0; }
.va [hidden] { display: none; }
.va label { display: flex; gap: 8px; align-items: center; min-height: 36px; cursor: pointer; }
.va input, .va button { font: inherit; color: inherit; }
.va input[type="number"] { width: 9em; background: transparent; border: 1px solid currentColor; border-radius: 6px; padding: 4px 8px; }
.va button { background: transparent; border: 1px solid currentColor; border-radius: 6px; padding: 4px 10px; min-height: 36px; cursor: pointer; }
.va-row { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 6px 0 0; }
.va-says { margin: 8px 0 0; }
.va-says b { font-weight: 600; }
.va-says:empty { display: none; }
@media screen { .va-waits { visibility: hidden; } }
`;
const KEY = "vitbook";

/** What this browser remembers: { "3 predictions 1": { given, right } }. */
function answers() {
  try {
    return JSON.parse(localStorage.getItem(KEY))?.answers ?? {};
  } catch {
    return {}; // denied, or something else lies there
  }
}

function keep(name, answer) {
  try {
    const all = JSON.parse(localStorage.getItem(KEY)) ?? {};
    localStorage.setItem(KEY, JSON.stringify({ ...all, answers: { ...answers(), [name]: answer } }));
  } catch {
    // denied or full: then nothing is remembered
  }
  dispatchEvent(new Event("vitbook-answer"));
}

function make(tag, set = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(set)) {
    if (name === "html") made.innerHTML = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** What a page shows between a question and its explanation, that included. */
function below(element) {
  const waiting = [];
  let output = false;
  let prose = false;
  for (let part = element.closest("div.cell")?.nextElementSibling; part; part = part.nextElementSibling) {
    const shown = part.matches("div.cell") && part.querySelector(".cell_output");
    if (part.matches("section") || shown?.querySelector?.(".vitbook-ask")) break;
    if (part.matches("div.cell")) {
      if (prose) break;
      if (shown) waiting.push(shown);
      output ||= Boolean(shown);
    } else if (output) {
      prose = true;
      waiting.push(part);
    }
  }
  return waiting;
}

/** What is said of an answer: [whether it is right, the sentence]. */
function judge(question, given) {
  if (question.choices) return [Boolean(question.choices[given].right), question.choices[given].says];
  const { number, within = 0.05, says, low, high } = question;
  const right = Math.abs(given - number) <= within * Math.abs(number);
  return [right, right ? says : given < number ? low : high];
}

/** The same as words: a head in bold, and the sentence. */
function verdict(question, given) {
  const [right, sentence] = judge(question, given);
  return `<b>${right ? "Yes." : "Not so."}</b> ${sentence}`;
}

/** What is right, and why. */
function solution(question) {
  const { choices, number, says } = question;
  const right = choices?.find((one) => one.right) ?? { text: number, says };
  return `<b>${right.text}.</b> ${right.says}`;
}

/** Choices to press; the name tells them from those of other questions. */
function radios(choices, name, chosen) {
  return choices.map((choice, k) => make("label", {}, [
    make("input", { type: "radio", name, value: k, onchange: () => chosen(k) }),
    make("span", { html: choice.text }),
  ]));
}

export function ask(element, data) {
  const wait = data.kind === "predictions" && document.querySelector("article.bd-article") ? below(element) : [];
  const drawn = data.questions.map((question, i) => {
    const name = `${data.chapter} ${data.kind} ${data.first + i}`;
    const key = `${element.dataset.key}-${i}`;
    const reasons = question.why && { choices: question.why };
    const says = make("p", { class: "va-says", role: "status", "aria-live": "polite" });
    let given, why;
    function answer() {
      const wanting = reasons && why === undefined; // the reason first, then what is so
      if (reasons) because.hidden = false;
      if (wanting) return;
      says.innerHTML = verdict(question, given) + (reasons ? ` ${verdict(reasons, why)}` : "");
      const reason = reasons && { why, because: judge(reasons, why)[0] };
      keep(name, { given, right: judge(question, given)[0], ...reason });
      reveal();
    }
    const give = (value) => { given = value; answer(); };
    const because = make("fieldset", { hidden: "" }, [
      make("legend", {}, ["Why?"]),
      ...radios(question.why ?? [], `${key}-why`, (k) => { why = k; answer(); }),
    ]);
    const show = make("button", {
      type: "button",
      onclick: () => {
        says.innerHTML = solution(question) + (reasons ? ` ${solution(reasons)}` : "");
        keep(name, { right: false });
        reveal();
      },
    }, ["Show me"]);
    const fields = question.choices
      ? radios(question.choices, key, give)
      : [make("label", {}, ["Your number ", make("input", {
          type: "number", step: "any",
          onchange: (event) => event.target.value !== "" && give(Number(event.target.value)),
        })])];
    const field = make("fieldset", {}, [
      make("legend", { html: question.ask }), ...fields, ...(reasons ? [because] : []),
      make("div", { class: "va-row" }, [show]), says,
    ]);
    const before = answers()[name];
    if (before) {
      if (before.given === undefined) show.click();
      else {
        ({ given, why } = before);
        const inputs = field.querySelectorAll("input");
        if (question.choices) inputs[given].checked = true;
        else inputs[0].value = given;
        if (reasons && why !== undefined) because.querySelectorAll("input")[why].checked = true;
        answer();
      }
    }
    return field;
  });
  function reveal() {
    for (const part of wait.splice(0)) part.classList.remove("va-waits");
  }
  for (const part of wait) part.classList.add("va-waits");
  element.replaceChildren(make("div", { class: "va" }, [make("style", { html: STYLE }), ...drawn]));
}

export function tally(element, data) {
  const says = make("p", { class: "va-says", role: "status" });
  function draw() {
    const given = data.about.map((about, i) => ({ about, ...answers()[`${data.chapter} predictions ${i + 1}`] }));
    const made = given.filter((one) => one.right !== undefined);
    const missed = made.filter((one) => !one.right).map((one) => one.about);
    const reasons = made.filter((one) => one.because !== undefined);
    const known = reasons.filter((one) => one.because).length;
    says.textContent = !made.length
      ? `This chapter asks for ${data.about.length} predictions. How many come true?`
      : `You foresaw ${made.length - missed.length} of ${made.length} so far, of ${data.about.length} in this chapter.`
        + (reasons.length ? ` Of ${reasons.length} reasons ${known} held.` : "")
        + (missed.length ? ` What surprised you: ${missed.join("; ")}. Your picture of these is worth a second look.` : "");
  }
  addEventListener("vitbook-answer", draw);
  draw();
  element.replaceChildren(make("div", { class: "va" }, [make("style", { html: STYLE }), says]));
}

/** Draw every widget of a key that is not drawn yet. */
export function start(key, draw) {
  const text = document.querySelector(`[data-for="${key}"]`).textContent;
  for (const element of document.querySelectorAll(`[data-key="${key}"]:not([data-drawn])`)) {
    element.dataset.drawn = "";
    draw(element, JSON.parse(text));
  }
}
