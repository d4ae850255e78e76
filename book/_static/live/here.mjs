// A bench of the laboratory inside a chapter: a button, which fetches the rest once it is pressed.
for (const bench of document.querySelectorAll(".lab-here")) {
  const open = document.createElement("button");
  open.type = "button";
  open.textContent = "Open it here";
  open.addEventListener("click", async () => {
    bench.tabIndex = -1; // the button, which had the focus, goes
    bench.focus();
    await import("./laboratory.mjs");
  });
  bench.append(open);
}
