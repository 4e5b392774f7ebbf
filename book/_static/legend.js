// Entries of a figure's legend as buttons, for the keyboard and for screen readers: Enter and the space bar do what a
// click does. plotly knows no keys there, and draws its legend anew after each change.
globalThis.labLegend = (() => {
  const ENTRY = ".lab-plot .legend .traces";
  const pressed = new WeakMap(); // plot -> the number of the entry that a key was pressed on: it keeps the focus
  const entriesOf = (element) => [...element.querySelectorAll(".legend .traces")];

  function name(entry) {
    const text = entry.querySelector(".legendtext");
    return (text?.dataset.unformatted ?? entry.textContent).replace(/<[^>]*>/g, " ").trim();
  }

  function label(element) {
    for (const entry of entriesOf(element)) {
      const { visible } = entry.__data__[0].trace; // what d3 drew it from
      const said = { tabindex: 0, role: "button", "aria-label": name(entry), "aria-pressed": visible === true };
      for (const [key, value] of Object.entries(said)) entry.setAttribute(key, value);
    }
    if (document.activeElement === document.body) entriesOf(element)[pressed.get(element)]?.focus({ preventScroll: true });
  }

  document.addEventListener("keydown", (event) => {
    const entry = event.target.closest?.(ENTRY);
    if (!entry || !["Enter", " "].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); // the space bar scrolls
    if (event.repeat) return;
    const element = entry.closest(".lab-plot"), target = entry.querySelector(".legendtoggle");
    pressed.set(element, entriesOf(element).indexOf(entry));
    for (const type of ["mousedown", "mouseup"]) target.dispatchEvent(new MouseEvent(type));
  });
  document.addEventListener("focusout", ({ target, relatedTarget }) => {
    if (relatedTarget && target.closest?.(ENTRY)) pressed.delete(target.closest(".lab-plot"));
  });

  // After each plot of an element: plotly forgets who listens when it begins anew.
  function follow(element) {
    element.on("plotly_afterplot", () => label(element));
    label(element);
  }

  return { follow };
})();
