// A layer whose units go one by one: the slider fades the dots and moves the marker along the curve.
for (const figure of document.querySelectorAll(".lab-removal")) {
  const { orders, share, silent, left, width, top, bottom } = JSON.parse(figure.dataset.removal);
  const form = figure.querySelector("form"), slider = form.removed, output = form.querySelector("output");
  const dots = [...figure.querySelectorAll(".lab-units circle")], units = dots.length, still = new Set(silent);
  const lines = figure.querySelectorAll(".lab-line"), needle = figure.querySelector(".lab-needle");
  const at = figure.querySelector(".lab-at");

  function show() {
    const name = form.order.value, removed = Number(slider.value), gone = orders[name].slice(0, removed);
    const x = left + (width * removed) / units, y = bottom - ((bottom - top) * share[name][removed]) / 1000;
    dots.forEach((dot) => dot.classList.remove("gone"));
    gone.forEach((unit) => dots[unit].classList.add("gone"));
    lines.forEach((line) => line.classList.toggle("chosen", line.dataset.order === name));
    needle.setAttribute("d", `M${x} ${top}V${bottom}`);
    at.setAttribute("cx", x);
    at.setAttribute("cy", y);
    const fired = gone.filter((unit) => !still.has(unit)).length;
    const right = `${(share[name][removed] / 10).toFixed(1)} % of test images right`;
    const which = `${fired || "none"} of them ever fired`;
    const said = removed ? `${removed} of ${units} removed, ${which}: ${right}` : `None of ${units} removed: ${right}`;
    output.textContent = said;
    slider.setAttribute("aria-valuetext", said);
  }

  form.hidden = false;
  globalThis.labState?.form(figure, "removal");
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
