// The two axes: where a number stands, and what is written beside them.
import { tickStep, ticks } from "d3-array";
import { draw } from "../shared/elements.js";

const LETTER = 6.8; // pixels, about, of a digit
const BELOW = 40, ABOVE = 26, RIGHT = 14;

export function axes(meta, width, height) {
  const top = ABOVE, bottom = height - BELOW, right = width - RIGHT;
  let [vertical, across] = [meta.y.range, meta.x.range];
  let marks = numbers(meta.y, vertical, (bottom - top) / 55);
  const left = 12 + LETTER * Math.max(3, ...marks.map(([, text]) => text.length));
  if (meta.equal) {
    const unit = Math.min((right - left) / (across[1] - across[0]), (bottom - top) / (vertical[1] - vertical[0]));
    across = around(across, (right - left) / unit);
    vertical = around(vertical, (bottom - top) / unit);
    marks = numbers(meta.y, vertical, (bottom - top) / 55);
  }
  return {
    x: scale(meta.x.log, across, left, right), y: scale(meta.y.log, vertical, bottom, top), marks,
    across: numbers(meta.x, across, (right - left) / 75), left, right, top, bottom,
  };
}

// As wide as there is room for, around the same middle: one unit is as long on both axes.
const around = ([low, high], span) => [(low + high - span) / 2, (low + high + span) / 2];

function scale(log, [low, high], from, to) {
  const at = log ? (value) => (value > 0 ? Math.log(value) : NaN) : Number;
  return (value) => from + ((at(value) - at(low)) / (at(high) - at(low))) * (to - from);
}

// The numbers that stand at an axis, and how they are written.
function numbers({ log, whole }, [low, high], room) {
  const count = Math.max(2, Math.round(room));
  if (log && Math.log10(high / low) > 1) return decades(low, high, count).map((value) => [value, value >= 1e-4 && value < 1e5 ? plain(value, 0) : power(value)]);
  const step = Math.max(tickStep(low, high, count), whole ? 1 : 0); // no layer stands between two layers
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), far = Math.max(Math.abs(low), Math.abs(high));
  return ticks(low, high, count).filter((value) => !whole || Number.isInteger(value)).map((value) => [value, places > 5 || far >= 1e7 ? power(value) : plain(value, places)]);
}

// Powers of ten, and twice and five times them where few are in sight; fewer where there are too many.
function decades(low, high, count) {
  const first = Math.floor(Math.log10(low)), span = Math.log10(high / low), found = [];
  const factors = span < 2 && count > 4 ? [1, 2, 5] : [1], every = Math.max(1, Math.round(span / count));
  for (let e = first; 10 ** e <= high; e += every) found.push(...factors.map((factor) => factor * 10 ** e));
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

const plain = (value, places) => new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: Math.max(places, 6) }).format(value).replace("-", "−");
const power = (value) => String(Number(value.toPrecision(3)).toExponential()).replace("e+", "e").replaceAll("-", "−");

export function drawAxes({ x, y, across, marks, left, right, top, bottom }, meta) {
  const line = (d, kind) => draw("path", { d, class: kind });
  const text = (at, height, anchor, said, kind) => draw("text", { x: at, y: height, "text-anchor": anchor, class: kind }, said);
  return draw("g", { class: "ex-axes", "aria-hidden": "true" },
    ...marks.flatMap(([value, said]) => [line(`M${left} ${y(value)}H${right}`, "ex-grid"), text(left - 6, y(value) + 4, "end", said)]),
    ...across.flatMap(([value, said]) => [line(`M${x(value)} ${bottom}v4`, "ex-axis"), text(x(value), bottom + 17, "middle", said)]),
    line(`M${left} ${top}V${bottom}H${right}`, "ex-axis"),
    text((left + right) / 2, bottom + 35, "middle", meta.x.label, "ex-name"), text(4, 14, "start", meta.y.label, "ex-name"));
}
