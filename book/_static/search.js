// Search by section. sections.js holds the text of every section; nothing leaves the page.
"use strict";

(function () {
  const out = document.getElementById("search-results");
  const query = (new URLSearchParams(location.search).get("q") || "").trim();
  const field = document.querySelector(".bd-search-container input[name=q]");
  if (!out || !query) return;
  field.value = query;
  const { sections, synonyms } = SECTIONS;

  const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  // Endings fall off long words: "overlapping" finds "overlap", "patches" finds "patch".
  const stem = (word) =>
    word.length > 5 ? word.replace(/(ping|ting|ning|ings|ing|ies|es|ed|s)$/, "") : word;
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = (word) => `(?<![\\p{L}\\p{N}])${escaped(stem(plain(word)))}[\\p{L}]*`;

  // Phrases that have synonyms stay together; what is left of the query goes word by word.
  const groups = [];
  let rest = ` ${plain(query)} `;
  for (const row of synonyms) {
    const known = row.map(plain).sort((a, b) => b.length - a.length);
    const hit = known.find((w) => new RegExp(pattern(w), "u").test(rest));
    if (!hit) continue;
    rest = rest.replace(new RegExp(pattern(hit), "gu"), " ");
    groups.push(row);
  }
  for (const word of rest.split(/[^\p{L}\p{N}_/.-]+/u).filter(Boolean)) groups.push([word]);
  const tests = groups.map((row) => new RegExp(row.map(pattern).join("|"), "giu"));
  const all = new RegExp(groups.flat().map(pattern).join("|"), "giu");

  const count = (text, test) => (text.match(test) || []).length;
  const hits = sections
    .map(([address, page, title, text]) => {
      const inText = tests.map((t) => count(text, t));
      const inTitle = tests.map((t) => count(title, t));
      const found = tests.filter((_, i) => inText[i] + inTitle[i]).length;
      const weight = inText.reduce((sum, n) => sum + Math.min(n, 5), 0)
        + 10 * inTitle.reduce((sum, n) => sum + Math.min(n, 1), 0);
      return { address, page, title, text, found, score: 100 * found + weight };
    })
    .filter((hit) => hit.found)
    .sort((a, b) => b.score - a.score);
  const best = hits.filter((hit) => hit.found === tests.length);
  const shown = (best.length ? best : hits).slice(0, 30);

  /** The sentence with the most hits, and a little around it when it is long. */
  function sentence(text) {
    const parts = text.match(/[^.!?]+(?:[.!?](?!\s)[^.!?]*)*[.!?]*/g) || [text];
    const top = parts.reduce((a, b) => (count(b, all) > count(a, all) ? b : a)).trim();
    const at = Math.max(top.search(all) - 120, 0);
    return (at ? "… " : "") + top.slice(at, at + 280) + (top.length > at + 280 ? " …" : "");
  }

  function marked(text) {
    const line = document.createDocumentFragment();
    let from = 0;
    for (const hit of text.matchAll(all)) {
      line.append(text.slice(from, hit.index));
      const mark = document.createElement("mark");
      mark.textContent = hit[0];
      line.append(mark);
      from = hit.index + hit[0].length;
    }
    line.append(text.slice(from));
    return line;
  }

  const said = document.createElement("p");
  said.setAttribute("role", "status");
  said.textContent = shown.length
    ? `${shown.length} section${shown.length > 1 ? "s" : ""} for “${query}”`
    : `Nothing is found for “${query}”. Try one word, or look into the glossary.`;
  const list = document.createElement("ul");
  list.className = "search";
  for (const { address, page, title, text } of shown) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const [path, anchor] = address.split("#");
    link.href = `${path}?highlight=${encodeURIComponent(query)}#${anchor}`;
    link.append(marked(title));
    const where = document.createElement("span");
    where.className = "search-page";
    where.textContent = page === title ? "" : page;
    const line = document.createElement("p");
    line.append(marked(sentence(text)));
    item.append(link, where, line);
    list.append(item);
  }
  // The page that opens marks the words, too: sphinx_highlight.js reads them here.
  list.addEventListener("click", () => {
    const words = groups.flat().map((w) => stem(plain(w))).filter((w) => !/\s/.test(w));
    localStorage.setItem("sphinx_highlight_terms", words.join(" "));
  });
  out.replaceChildren(said, list);
})();
