// What pruning_lab/widgets/curves.py packed, as typed arrays; a curve's numbers are worked out when it is drawn.
import { unzlibSync } from "fflate";
import { bytes } from "../shared/bytes.js";

const KINDS = { x: Float32Array, ends: Float64Array, low: Uint8Array, high: Uint8Array, captions: Uint8Array };

export function decode(model) {
  const meta = model.get("meta"), { sections, bits, log } = meta.packed;
  const raw = unzlibSync(bytes(model.get("data"))), parts = {};
  let at = 0;
  for (const [name, size] of sections) parts[name] = new (KINDS[name] ?? Uint32Array)(raw.slice(at, (at += size)).buffer);
  const captions = JSON.parse(new TextDecoder().decode(parts.captions));
  const width = meta.controls.length, count = meta.series.length;
  const combinations = Array.from({ length: parts.combinations.length / width }, (_, row) => parts.combinations.subarray(row * width, (row + 1) * width));
  const firsts = running(parts.lengths), starts = running(Array.from(parts.x_of, (x) => parts.lengths[x]));
  const zero = 2 ** bits - 2, gap = zero + 1;

  // The curve of a series in a combination, { x, y, said }: NaN in a gap; `said` writes a y with the digits that were kept.
  function curve(row, series) {
    const number = parts.curves[row * count + series];
    if (number === 2 ** 32 - 1) return null;
    const first = firsts[parts.x_of[number]], start = starts[number], size = starts[number + 1] - start;
    const low = parts.ends[2 * number], step = (parts.ends[2 * number + 1] - low) / (zero - 1);
    const y = Float64Array.from({ length: size }, (_, k) => {
      const code = parts.low[start + k] + 256 * parts.high[start + k];
      if (code === gap) return NaN;
      return log ? (code === zero ? 0 : 10 ** (low + step * code)) : low + step * code;
    });
    return { x: Array.from(parts.x.subarray(first, first + size), short), y, said: writer(step, log) };
  }
  const row = (choice) => combinations.findIndex((one) => one.every((place, c) => place === choice[c]));
  return { meta, combinations, row, curve, caption: (number) => captions[parts.caption_of[number]] };
}

function running(sizes) {
  const sums = [0];
  for (const size of sizes) sums.push(sums.at(-1) + size);
  return sums;
}

export const short = (value) => Number(value.toPrecision(7)); // what a 32-bit number was before it became one

function writer(step, log) {
  if (!step) return (value) => String(Number(value.toPrecision(7)));
  if (log) return (value) => String(Number(value.toPrecision(Math.max(1, Math.floor(-Math.log10(step * Math.LN10))))));
  const places = Math.floor(-Math.log10(step));
  return (value) => String(places < 0 ? Math.round(value) : Number(value.toFixed(Math.min(places, 20))) + 0);
}
