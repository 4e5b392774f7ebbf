// The elements around the chart: its controls, legend, caption, buttons.
import { copyLink, onPage } from "../shared/address.js";
import { button, draw, make, menu, slider } from "../shared/elements.js";
import { offered } from "./choose.js";

export function panel(el, data, act) {
  const { meta } = data, id = `ex-${meta.name}-${Math.random().toString(36).slice(2, 8)}`;
  const svg = draw("svg", { tabindex: 0, role: "application", "aria-roledescription": "chart", "aria-describedby": `${id}-keys` });
  const controls = meta.controls.map((control, c) => (control.slider ? sliding(data, c, act) : choosing(data, c, act)));
  const card = make("div", { class: "ex-card", hidden: true });
  const legend = make("div", { class: "ex-legend" });
  const caption = make("p", { class: "ex-caption" }), summary = make("p", { class: "ex-summary", "aria-live": "polite" });
  el.replaceChildren(
    ...(meta.title ? [make("p", { class: "ex-title" }, make("strong", {}, meta.title))] : []),
    make("div", { class: "ex-controls" }, ...controls.map((control) => control.row)),
    make("div", { class: "ex-drawing" }, svg, card), legend, caption, summary,
    make("div", { class: "pl-bar" }, button("Reset", "The choice as it was", act.reset), button("Picture", "Download as PNG", act.picture),
      button("Rows (CSV)", "Download the rows in sight", act.rows),
      ...(onPage() ? [button("Copy link", "Copy the address with what is set here", copyLink)] : [])),
    make("p", { class: "pl-note", id: `${id}-keys` }, "Keys on the chart: ← and → go from point to point, ↑ and ↓ from curve to curve, ",
      ...(meta.controls.some((control) => control.slider) ? ["[ and ] a step of the last slider back and on, space plays, "] : []), "Escape lets go."),
  );
  return { svg, card, legend, caption, summary, controls };
}

// A menu of what exists; `follow` shows a choice.
function choosing(data, c, act) {
  const { label, shown } = data.meta.controls[c];
  let places = [];
  const { row, select } = menu(label, [], (at) => act.pick(c, places[at]));
  function follow(choice) {
    const now = offered(data, choice, c);
    if (now.join() !== places.join()) select.replaceChildren(...now.map((place) => make("option", {}, shown[place])));
    places = now;
    select.selectedIndex = places.indexOf(choice[c]);
    select.disabled = places.length < 2;
  }
  return { row, follow };
}

// A slider over what exists, with a button that plays it.
function sliding(data, c, act) {
  const { label, shown } = data.meta.controls[c];
  let places = [0];
  const { row, input, set } = slider(label, { min: 0, step: 1 }, (at) => shown[places[at]], (at) => act.pick(c, places[at]));
  const play = button("Play", `Play through: ${label}`, () => act.play(c));
  row.querySelector("output").style.flexBasis = `${Math.max(3, ...shown.map((text) => text.length)) * 0.65}em`;
  function follow(choice) {
    places = offered(data, choice, c);
    input.max = places.length - 1;
    set(places.indexOf(choice[c]));
    input.disabled = play.disabled = places.length < 2;
  }
  return { row: make("div", { class: "ex-sliding" }, play, row), follow, play };
}

const SIGNS = { line: "M0 5H18", dashed: "M0 5H18", path: "M0 5H18", bar: "M1 0H17V10H1Z", dots: "M9 5h0", arrow: "M0 5H17M11 1L17 5L11 9" };

export function showLegend(legend, found) {
  const sign = ({ style, colour }) => draw("svg", { viewBox: "0 0 18 10", "aria-hidden": "true" },
    draw("path", { d: SIGNS[style], class: `ex-mark ex-${style}`, style: `--ex-colour:${colour}` }));
  legend.replaceChildren(...(found.length < 2 ? [] : found.map(({ series }) => make("span", {}, sign(series), series.label))));
}

// A combination in words, and each curve's highest point, or where an arrow ends.
export function inWords({ meta }, choice, found) {
  const chosen = meta.controls.map(({ label, shown }, c) => `${label} ${shown[choice[c]]}`).join(", ");
  const curves = found.slice(0, 6).map(({ series, seen, curve }) => {
    if (!seen.length) return `${series.label}: no points`;
    const last = series.style === "arrow", best = last ? seen.at(-1) : seen.reduce((a, b) => (b.y > a.y ? b : a));
    return `${series.label}: ${last ? "ends at" : `${seen.length} points, highest`} ${curve.said(best.y)} at ${best.value}`;
  });
  const rest = found.length > 6 ? [`${found.length - 6} more`] : [];
  return `${chosen}. ${[...curves, ...rest].join("; ") || "Nothing here"}.`;
}
