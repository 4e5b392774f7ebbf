// What pruning_lab/widgets/encoding.py packed, as typed arrays; snapshots are unpacked up to the one that is shown.
import { inflateSync } from "fflate";
import { bytes } from "../shared/bytes.js";

function sixteen(value, peak) {
  const raw = bytes(value).slice();
  return Float32Array.from(new Uint16Array(raw.buffer), (part) => (part * peak) / 65535);
}

export function decode(model) {
  const meta = model.get("meta");
  const { units, low, high } = meta;
  const replay = replayed(inflateSync(bytes(model.get("pairs"))), meta);
  const cache = [];
  const step = (high - low) / 255;

  // Pairs of snapshot t, the most similar first: { i, j, code }.
  function snapshot(t) {
    while (cache.length <= t) cache.push(sorted(replay.next().value, units));
    return cache[t];
  }
  const cosine = (code) => low + step * code;
  // The least code that counts at a cut-off; below its own floor a snapshot is not complete.
  function least(t, cutoff) {
    if (!step) return cutoff <= low + 1e-6 ? 0 : 256;
    return Math.max(Math.ceil((cutoff - low) / step - 1e-6), Math.round((meta.floors[t] - low) / step), 0);
  }
  function nearest(t, unit, most = 3) {
    const { i, j, code } = snapshot(t);
    const found = [];
    for (let e = 0; e < i.length && found.length < most; e++) {
      if (i[e] === unit || j[e] === unit) found.push({ unit: i[e] === unit ? j[e] : i[e], cosine: cosine(code[e]) });
    }
    return found;
  }
  return {
    meta, snapshot, cosine, least, nearest,
    norms: sixteen(model.get("norms"), meta.norm),
    shares: sixteen(model.get("shares"), meta.share),
    groups: bytes(model.get("groups")),
    pictures: bytes(model.get("pictures")),
  };
}

// In a graph of two nets a unit has the number that it has in its own: [net, number].
export function inNet(meta, unit) {
  for (const [net, size] of meta.nets) {
    if (unit < size) return [net, unit];
    unit -= size;
  }
}

// One snapshot after the other: { numbers, codes } of its pairs, ascending.
function* replayed(raw, { offsets, counts, anew, units }) {
  const last = new Uint8Array((units * (units - 1)) / 2).fill(128);
  let numbers = [], at = offsets.at(-1);
  for (const [t, count] of counts.entries()) {
    numbers = changed(anew[t] ? [] : numbers, raw.subarray(offsets[t], offsets[t + 1]));
    const codes = Uint8Array.from(numbers, (number, k) => (last[number] += raw[at + k]));
    at += count;
    yield { numbers, codes };
  }
}

// The pairs that were there, without those that go and with those that come, ascending.
function changed(before, gaps) {
  const found = new Set(before);
  let number = 0;
  for (const gap of gaps) {
    number += gap; // of 255 there is more
    if (gap < 255 && !found.delete(number)) found.add(number);
  }
  return Uint32Array.from(found).sort();
}

// Units and codes of pairs, the largest code first.
function sorted({ numbers, codes }, units) {
  const heads = new Uint32Array(257); // a counting sort
  for (const code of codes) heads[256 - code]++;
  for (let k = 1; k < 257; k++) heads[k] += heads[k - 1];
  const out = { i: new Uint16Array(codes.length), j: new Uint16Array(codes.length), code: new Uint8Array(codes.length) };
  let i = 0, first = 0;
  for (const [e, number] of numbers.entries()) {
    while (number >= first + units - 1 - i) first += units - 1 - i++;
    const place = heads[255 - codes[e]]++;
    out.i[place] = i;
    out.j[place] = number - first + i + 1;
    out.code[place] = codes[e];
  }
  return out;
}
