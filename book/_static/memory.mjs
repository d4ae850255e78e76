// What the book remembers of a reader, in this browser only: the last place, which chapters
// were read to the end, and predictions (asking.mjs). Nothing is sent anywhere; one button
// forgets it all.

const KEY = "vitbook";

/** What is remembered: { place: { page, title, anchor, heading }, read: [page, …], answers }. */
function recall() {
  try {
    return { read: [], ...JSON.parse(localStorage.getItem(KEY)) };
  } catch {
    return { read: [] }; // a store that is denied, or holds something else
  }
}

function remember(what) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...what }));
  } catch {
    // denied or full: then nothing is remembered
  }
}

const root = new URL(document.documentElement.dataset.content_root ?? "./", location.href);
const here = location.pathname.slice(root.pathname.length);

/** A heading's words, without its number and the sign of its link. */
const words = (heading) => heading.textContent.replace(/#$/, "").replace(/^[\d.]+\s/, "").trim();

/** The heading that was passed last. */
function heading() {
  const all = [...document.querySelectorAll("article section[id] > :is(h1, h2, h3)")];
  return all.filter((one) => one.getBoundingClientRect().top < 120).pop() ?? all[0];
}

function followReader(article) {
  const title = words(document.querySelector("h1"));
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      const now = heading();
      const place = { page: here, title, anchor: now.parentElement.id };
      remember({ place: { ...place, heading: words(now) } });
      const { read } = recall();
      const end = article.getBoundingClientRect().bottom < innerHeight + 200;
      if (end && !read.includes(here)) remember({ read: [...read, here] });
      showRead();
    }, 300);
  }, { passive: true });
}

/** A tick behind the chapters that were read, in the list of chapters and on the cover. */
function showRead() {
  const { read } = recall();
  for (const link of document.querySelectorAll(".bd-links a, .path a")) {
    const page = new URL(link.href).pathname.slice(root.pathname.length);
    const tick = link.querySelector(".read-tick");
    if (!read.includes(page)) tick?.remove();
    else if (!tick) {
      link.insertAdjacentHTML("beforeend", '<span class="read-tick"><span aria-hidden="true"> ✓</span><span class="visually-hidden">, read</span></span>');
    }
  }
}

function offerToGoOn(cover) {
  const { place } = recall();
  if (!place) return;
  const link = document.createElement("a");
  link.className = "go-on";
  link.href = new URL(`${place.page}#${place.anchor}`, root);
  link.textContent = place.heading === place.title ? `Go on with ${place.title}` : `Go on: ${place.title}, ${place.heading}`;
  cover.before(link);
}

function offerToForget(footer) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "forget";
  button.textContent = "Forget what I have read and answered";
  button.addEventListener("click", () => {
    localStorage.removeItem(KEY);
    document.querySelector(".go-on")?.remove();
    showRead();
    button.replaceWith("Forgotten.");
  });
  footer.append(button);
}

const article = document.querySelector("article.bd-article");
if (here.startsWith("notebooks/") && article) followReader(article);
const cover = document.querySelector(".cover");
if (cover) offerToGoOn(cover);
const footer = document.querySelector(".bd-footer-content__inner, footer");
const { place, read, answers } = recall();
if (footer && (place || read.length || answers)) offerToForget(footer);
addEventListener("vitbook-answer", () => {
  if (footer && !footer.querySelector(".forget")) offerToForget(footer);
});
showRead();
