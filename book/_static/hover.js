// Shows what a term, a paper or an equation is, while its link is pointed at or has the focus.
// It stays while the pointer is on it, and Escape closes it.
const tips = new Map(
  [...document.querySelectorAll(".tip")].map((tip) => [tip.dataset.for, tip]),
);
let shown = null;
let timer = 0;

function hide() {
  clearTimeout(timer);
  if (!shown) return;
  shown.tip.hidden = true;
  shown.link.removeAttribute("aria-describedby");
  shown = null;
}

function place() {
  if (!shown) return;
  const { link, tip } = shown;
  const [line, size] = [link.getClientRects()[0], tip.getBoundingClientRect()];
  const right = document.documentElement.clientWidth - size.width - 8;
  tip.style.left = `${Math.max(8, Math.min(line.left, right))}px`;
  const above = line.bottom + size.height + 8 > innerHeight && line.top > size.height;
  tip.style.top = `${above ? line.top - size.height : line.bottom}px`;
}

function show(link, tip) {
  hide();
  tip.hidden = false;
  link.setAttribute("aria-describedby", tip.id);
  shown = { link, tip };
  place();
}

function soon(action) {
  clearTimeout(timer);
  timer = setTimeout(action, 200);
}

for (const link of document.querySelectorAll(".bd-article a[href]")) {
  const tip = tips.get(link.getAttribute("href"));
  if (!tip) continue;
  link.addEventListener("focus", () => show(link, tip));
  link.addEventListener("blur", hide);
  link.addEventListener("mouseenter", () => soon(() => show(link, tip)));
  link.addEventListener("mouseleave", () => soon(hide));
  tip.addEventListener("mouseenter", () => clearTimeout(timer));
  tip.addEventListener("mouseleave", () => soon(hide));
}
addEventListener("keydown", (event) => event.key === "Escape" && hide());
addEventListener("scroll", place, { passive: true });
