// The point that a mouse, a finger or the keys have reached, and the card that tells of it.
import { draw, make } from "../shared/elements.js";

// Curves over a common x are read together, points in the plane one at a time.
const together = (found) => found.every(({ series }) => !["dots", "path", "arrow"].includes(series.style));

// The nearest point to a place in the chart: { series (its place in `found`), k }.
export function nearest(found, left, top) {
  const flat = together(found);
  let best = null, least = Infinity;
  found.forEach(({ seen }, series) => seen.forEach((point) => {
    const far = (point.left - left) ** 2 + (flat ? 1e-3 : 1) * (point.top - top) ** 2;
    if (far < least) [best, least] = [{ series, k: point.k }, far];
  }));
  return best;
}

// The next point along a curve, or the same x (else the nearest) on the next curve.
export function step(found, at, along, across) {
  const full = found.map((_, number) => number).filter((number) => found[number].seen.length);
  if (!full.length) return null;
  if (!at || !full.includes(at.series)) return { series: full[0], k: found[full[0]].seen.at(along < 0 ? -1 : 0).k };
  const { seen } = found[at.series];
  if (!across) {
    const place = Math.max(seen.findIndex(({ k }) => k === at.k), 0);
    return { series: at.series, k: seen[Math.min(Math.max(place + along, 0), seen.length - 1)].k };
  }
  const series = full[(full.indexOf(at.series) + across + full.length) % full.length], here = found[at.series].points[at.k];
  return { series, k: found[series].seen.reduce((a, b) => (Math.abs(b.left - here.left) < Math.abs(a.left - here.left) ? b : a)).k };
}

// Draws the cursor into `layer` and tells in `card`; returns what is said.
export function show(layer, card, meta, found, axes, at) {
  const one = at && found[at.series], point = one?.points[at.k];
  card.hidden = !point || !Number.isFinite(point.top);
  layer.replaceChildren();
  if (card.hidden) return "";
  const common = together(found);
  const near = common ? found.flatMap((other) => other.seen.filter(({ value }) => value === point.value).map((spot) => [other, spot])) : [[one, point]];
  near.sort(([a], [b]) => (b === one) - (a === one)); // the one in hand is said first
  if (common) layer.append(draw("path", { d: `M${point.left} ${axes.top}V${axes.bottom}`, class: "ex-rule" }));
  layer.append(...near.map(([{ series }, { left, top }]) =>
    draw("circle", { cx: left, cy: top, r: series === one.series ? 5 : 3.5, class: "ex-spot", style: `--ex-colour:${series.colour}` })));
  const [head, ...lines] = common ? [`${meta.x.label}: ${point.value}`, ...near.slice(0, 8).map(([{ series, curve }, { y }]) => `${series.label}: ${rounded(curve.said(y))}`)]
    : [one.series.label, `${meta.x.label}: ${rounded(point.value)}`, `${meta.y.label}: ${rounded(one.curve.said(point.y))}`];
  if (common) lines.push(meta.y.label);
  card.replaceChildren(make("strong", {}, head), ...lines.map((text) => make("div", {}, text)));
  card.classList.toggle("ex-right", point.left < (axes.left + axes.right) / 2); // beside the point, never on it
  return [head, ...lines].join(". ");
}

const rounded = (number) => Number(Number(number).toPrecision(4));
