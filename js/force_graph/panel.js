// The elements around the canvas: controls, legend, accuracy curve, what is known of the unit in focus, summary.
import { copyLink, onPage } from "../shared/address.js";
import { button, capital, draw, make, menu, slider } from "../shared/elements.js";
import { inNet } from "./decode.js";
import { PALETTE, shade } from "./paint.js";

export function panel(el, data, change, act) {
  const { meta } = data, last = meta.epochs.length - 1;
  const least = Math.floor(100 * Math.min(...meta.floors)) / 100;
  const id = `fg-${meta.name}-${Math.random().toString(36).slice(2, 8)}`;
  const canvas = make("canvas", { tabindex: 0, role: "application", "aria-roledescription": "force graph", "aria-describedby": `${id}-keys` });
  const play = button("Play", "Play through the snapshots (space)", act.play);
  const speed = make("select", { "aria-label": "Speed", onchange: () => change("speed", speed.selectedIndex) },
    ...meta.speeds.map((times) => make("option", {}, `${times} ×`)));
  const sliders = {
    snapshot: slider(capital(meta.time), { min: 0, max: last, step: 1 }, (t) => String(meta.epochs[t]), (v) => change("snapshot", v)),
    cutoff: slider("Cosine at least", { min: least, max: 1, step: 0.01 }, (v) => v.toFixed(2), (v) => change("cutoff", v)),
    sigma: slider("Sigma", { min: 0.05, max: 2, step: 0.05 }, (v) => v.toFixed(2), (v) => change("sigma", v)),
    charge: slider("Charge", { min: 0, max: 200, step: 5 }, (v) => v.toFixed(0), (v) => change("charge", v)),
    distance: slider("Link length", { min: 5, max: 150, step: 5 }, (v) => v.toFixed(0), (v) => change("distance", v)),
    colour: menu("Colour", meta.colours.map((kind) => kind.name), (v) => change("colour", v)),
    kernel: menu("Kernel", ["report: exp(−(1 − cos) / σ²)", "code: exp(−((1 − cos) / 2)² / σ²)"], (v) => change("kernel", v)),
    speed: { set: (place) => { speed.selectedIndex = place; } },
  };
  const removal = make("div", { class: "fg-removal" });
  const curve = make("div", { class: "fg-curve" });
  if (meta.orders.length) {
    const most = Math.max(...meta.orders.map((order) => order.units.length));
    sliders.removed = slider("Units removed", { min: 0, max: most, step: 1 }, String, (v) => change("removed", v));
    sliders.order = menu("In the order of", meta.orders.map((order) => order.name), (v) => change("order", v));
    removal.append(sliders.removed.row, sliders.order.row, curve);
  }
  const legend = make("div", { class: "fg-legend" });
  const note = make("p", { class: "pl-note" });
  const details = make("div", { class: "fg-unit" });
  const summary = make("p", { class: "fg-summary", "aria-live": "polite" });
  const drawing = make("div", { class: "fg-drawing" }, canvas, details, make("div", { class: "fg-zoom" },
    button("+", "Larger (+)", () => act.zoom(1.25)), button("−", "Smaller (-)", () => act.zoom(0.8)), button("▢", "All of it (0)", () => act.zoom(0))));
  el.replaceChildren(
    make("p", { class: "fg-title" }, make("strong", {}, meta.title),
      " A dot is a unit, its area the norm of its weights; a line joins two units whose weights point the same way."),
    drawing, legend,
    make("div", { class: "pl-bar" }, play, speed, sliders.snapshot.row),
    summary,
    make("div", { class: "fg-controls" }, make("div", {}, sliders.cutoff.row, note), sliders.colour.row, removal),
    make("details", { class: "fg-more" }, make("summary", {}, "Forces and kernel"),
      make("div", { class: "fg-controls" }, sliders.sigma.row, sliders.kernel.row, sliders.charge.row, sliders.distance.row),
      make("p", { class: "pl-note" }, "The report takes 1 − cos for the squared distance; its author's code squares half of 1 − cos, " +
        "so that with one sigma orthogonal units still pull each other where the report's formula nearly lets them go.")),
    make("div", { class: "pl-bar" }, button("Reset", "All settings as they were", act.reset), button("Picture", "Download as PNG", act.picture),
      button("Units (CSV)", "Download the units of all snapshots", act.units), button("Edges (CSV)", "Download the edges in sight", act.edges),
      ...(onPage() ? [button("Copy link", "Copy the address with what is set here", copyLink)] : [])),
    make("p", { class: "pl-note", id: `${id}-keys` }, "Keys on the graph: arrows go from unit to unit, N to the nearest one, " +
      "[ and ] a snapshot back and on, space plays, + and − zoom, Shift and an arrow move the view, 0 shows all, Escape lets go."),
  );
  return { canvas, play, sliders, legend, note, details, summary, drawing, curve };
}

export function showLegend(legend, data, number) {
  const kind = data.meta.colours[number];
  const dot = (colour, text) => make("span", {}, make("i", { style: `background:${colour}` }), text);
  if (kind.labels) {
    const rest = kind.labels.length > PALETTE.length ? [dot("#808080", `${kind.labels.length - PALETTE.length} more`)] : [];
    legend.replaceChildren(...kind.labels.slice(0, PALETTE.length).map((name, k) => dot(PALETTE[k], name)), ...rest);
  } else if (kind.name === "none") legend.replaceChildren();
  else legend.replaceChildren(dot(shade(0), "least"), dot(shade(0.5), "middle"), dot(shade(1), `most: ${kind.name} in this snapshot`));
}

// Accuracy along the removal order with a dot where the slider stands.
export function showCurve(box, order, removed) {
  if (!order?.accuracy) return box.replaceChildren();
  const n = order.accuracy.length - 1, at = Math.min(removed, n), [W, H] = [300, 80];
  const x = (k) => 4 + ((W - 8) * k) / Math.max(n, 1), y = (value) => H - 4 - (H - 8) * value;
  const text = `Accuracy ${(100 * order.accuracy[at]).toFixed(1)} % with ${at} of ${n} units removed.`;
  const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": text, preserveAspectRatio: "none" });
  svg.append(
    draw("path", { d: `M4 4V${H - 4}H${W - 4}`, class: "fg-axis" }),
    draw("path", { d: order.accuracy.map((value, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(value).toFixed(1)}`).join(""), class: "fg-line" }),
    draw("line", { x1: x(at), x2: x(at), y1: 4, y2: H - 4, class: "fg-axis" }),
    draw("path", { d: `M${x(at)} ${y(order.accuracy[at])}h0`, class: "fg-dot" }),
  );
  box.replaceChildren(svg, make("p", { class: "pl-note" }, `${text} Up: accuracy, 0 to 100 %; to the right: units removed, 0 to ${n}.`));
}

export function showUnit(box, data, t, node) {
  box.hidden = !node;
  if (!node) return;
  const { meta, norms, shares, groups } = data, at = t * meta.units + node.unit;
  const near = data.nearest(t, node.unit).map(({ unit, cosine }) => `${name(meta, unit)} (${cosine.toFixed(2)})`);
  const kinds = meta.colours.filter((kind) => kind.labels)
    .map((kind) => [kind.name, kind.labels[groups[kind.offset + (kind.moving ? at : node.unit)]]]).filter(([, label]) => label !== undefined);
  const lines = [`norm ${norms[at].toPrecision(3)}`, `share of frame potential ${(100 * shares[at]).toPrecision(3)} %`,
    near.length ? `nearest: ${near.join(", ")}` : "a zero row or the only unit: it has no neighbours", ...kinds.map(([kind, label]) => `${kind}: ${label}`)];
  const text = make("div", {}, make("strong", {}, `Unit ${name(meta, node.unit)}${node.gone ? ", removed" : ""}`),
    ...lines.map((line) => make("div", {}, line)));
  box.replaceChildren(text, ...(data.pictures.length ? [image(data, node.unit)] : []));
  box.classList.toggle("fg-right", node.x < 0); // beside the unit, never on it
}

export function name(meta, unit) {
  const [net, number] = inNet(meta, unit);
  return meta.nets.length < 2 ? String(number) : `${number} of ${net}`;
}

// Weights as a picture: blue below zero, orange above; three channels as a colour.
function image({ meta, pictures }, unit) {
  const [height, width, channels] = meta.picture;
  const canvas = make("canvas", { role: "img", "aria-label": `weights of unit ${unit} at the last snapshot`, width, height });
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let p = 0; p < width * height; p++) {
    const at = (unit * width * height + p) * channels, value = (pictures[at] - 128) / 127;
    const tint = value < 0 ? [0, 114, 178] : [213, 94, 0];
    const colour = channels === 3 ? [0, 1, 2].map((c) => pictures[at + c]) : tint.map((v) => 255 + (v - 255) * Math.abs(value));
    pixels.data.set([...colour, 255], 4 * p);
  }
  context.putImageData(pixels, 0, 0);
  return make("figure", {}, canvas, make("figcaption", {}, `at ${meta.time} ${meta.epochs.at(-1)}`));
}
