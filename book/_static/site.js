// Small helps of our own; each does nothing on pages that have no use for it.
"use strict";

addEventListener("DOMContentLoaded", () => {
  // Boxes that scroll say so, and take the keyboard; the stage that is lit comes into sight.
  const boxes = ".wide-figure, .vitbook-diagram, mjx-container[display]";
  const mark = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("scrolls", scrolls);
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", mark);
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(mark));
  mark();

  // Paper is white: what is printed is the light theme.
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    document.documentElement.dataset.theme = theme;
  });
});
