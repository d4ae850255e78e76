// Small helps of our own; each does nothing on pages that have no use for it.
"use strict";

addEventListener("DOMContentLoaded", () => {
  // Boxes that scroll say so, and take the keyboard; the stage that is lit comes into sight.
  const boxes = [...document.querySelectorAll(".wide-figure, .vitbook-diagram")];
  const mark = () => {
    for (const box of boxes) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("scrolls", scrolls);
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", mark);
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
