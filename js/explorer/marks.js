// The curves of one combination: bars, lines, dots and arrows.
import { draw } from "../shared/elements.js";

const ARM = 9, TURN = 0.45; // of an arrow's head

// Every series with a curve here: { series, curve, points } with the places of its points that can be drawn.
export function shown(data, row, { x, y }) {
  const found = data.meta.series.map((series, number) => ({ series, curve: data.curve(row, number) })).filter(({ curve }) => curve);
  for (const one of found) {
    one.points = Array.from(one.curve.x, (value, k) => ({ k, value, y: one.curve.y[k], left: x(value), top: y(one.curve.y[k]) }));
    one.seen = one.points.filter(there);
  }
  return found;
}

export function drawMarks(found, axes) {
  const order = [...found].sort((a, b) => (b.series.style === "bar") - (a.series.style === "bar")); // bars lie below
  return order.map((one) => draw("path", {
    d: PATHS[one.series.style](one, axes), class: `ex-mark ex-${one.series.style}`, style: `--ex-colour:${one.series.colour}`, "data-series": one.series.name,
  }));
}

// Straight from point to point; a gap where one cannot be drawn.
const there = (point) => point && Number.isFinite(point.left) && Number.isFinite(point.top);
const path = ({ points }) => points.map((point, k) => (there(point) ? `${there(points[k - 1]) ? "L" : "M"}${point.left.toFixed(2)} ${point.top.toFixed(2)}` : "")).join("");

const PATHS = {
  line: path,
  dashed: path,
  path,
  dots: ({ seen }) => seen.map(({ left, top }) => `M${left.toFixed(2)} ${top.toFixed(2)}h0`).join(""),
  bar: bars,
  arrow: (one) => path(one) + head(one.seen),
};

// From zero, or from the foot of the chart; a little apart where there is room.
function bars({ points, seen }, { y, bottom }) {
  const steps = points.slice(1).map((point, k) => point.left - points[k].left);
  const wide = steps.length ? Math.min(...steps) : 20, half = (wide > 8 ? wide - 1.5 : wide) / 2;
  const zero = y(0), base = Number.isFinite(zero) ? Math.min(zero, bottom) : bottom;
  return seen.map(({ left, top }) => `M${(left - half).toFixed(2)} ${base.toFixed(2)}V${top.toFixed(2)}h${(2 * half).toFixed(2)}V${base.toFixed(2)}Z`).join("");
}

function head(seen) {
  const [from, to] = seen.slice(-2);
  if (!to || Math.hypot(to.left - from.left, to.top - from.top) < 0.5) return "";
  const way = Math.atan2(to.top - from.top, to.left - from.left);
  return [-TURN, TURN].map((turn) => `M${to.left.toFixed(2)} ${to.top.toFixed(2)}l${(-ARM * Math.cos(way + turn)).toFixed(2)} ${(-ARM * Math.sin(way + turn)).toFixed(2)}`).join("");
}
