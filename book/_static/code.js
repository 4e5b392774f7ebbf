// One switch for the code of all chapters: off until it is switched on, remembered from page to page. This file is
// loaded before anything is drawn, so that no code flashes up; without scripts all code stays in sight.
(() => {
  const root = document.documentElement, key = "lab-code";
  const FOLDED = ".cell:is(.tag_hide-input, .tag_parameters, .tag_injected-parameters, .tag_plan) > .cell_input";
  const recall = () => {
    try { return localStorage.getItem(key) === "on"; } catch { return false; } // a browser may forbid it
  };
  const remember = (on) => {
    try { localStorage.setItem(key, on ? "on" : "off"); } catch { /* then it holds for this page alone */ }
  };
  let button;

  function show(on) {
    root.dataset.code = on ? "on" : "off";
    button?.setAttribute("aria-pressed", on);
  }

  // What the reader looks at stays where it is although code above it comes and goes.
  function steady(change) {
    const blocks = [...document.querySelectorAll(".bd-article :is(h1, h2, h3, p, figure)")];
    const seen = blocks.find((block) => block.getBoundingClientRect().top > 60);
    const before = seen?.getBoundingClientRect().top;
    change();
    if (seen) scrollBy({ top: seen.getBoundingClientRect().top - before, behavior: "instant" });
  }

  show(recall());
  document.addEventListener("DOMContentLoaded", () => {
    const bar = document.querySelector(".article-header-buttons");
    if (!bar || !document.querySelector(FOLDED)) return;
    button = document.createElement("button");
    Object.assign(button, { type: "button", className: "btn btn-sm lab-code", textContent: "Code" });
    button.title = "Show or hide the code of all chapters";
    button.addEventListener("click", () => steady(() => {
      remember(root.dataset.code !== "on");
      show(root.dataset.code !== "on");
    }));
    bar.prepend(button);
    show(recall());
  });
  addEventListener("storage", (event) => event.key === key && show(event.newValue === "on")); // another page of the book
})();
