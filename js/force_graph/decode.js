// What pruning_lab/widgets/encoding.py packed, as typed arrays; a snapshot is unpacked when it is first shown.
import { bytes } from "../shared/bytes.js";

function sixteen(value, peak) {
  const raw = bytes(value).slice();
  return Float32Array.from(new Uint16Array(raw.buffer), (part) => (part * peak) / 65535);
}

export function decode(model) {
  const meta = model.get("meta");
  const { units, low, high } = meta;
  const packed = bytes(model.get("pairs"));
  const cache = new Map();
  const step = (high - low) / 255;

  // Pairs of snapshot t, the most similar first: { i, j, code }.
  function snapshot(t) {
    if (!cache.has(t)) cache.set(t, unpack(packed.subarray(meta.offsets[t], meta.offsets[t + 1]), meta.counts[t], units));
    return cache.get(t);
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

function unpack(raw, count, units) {
  const codes = raw.subarray(raw.length - count);
  const heads = new Uint32Array(257); // a counting sort, largest code first
  for (const code of codes) heads[256 - code]++;
  for (let k = 1; k < 257; k++) heads[k] += heads[k - 1];
  const out = { i: new Uint16Array(count), j: new Uint16Array(count), code: new Uint8Array(count) };
  let number = 0, i = 0, first = 0, e = 0;
  for (let at = 0; e < count; at++) {
    number += raw[at];
    if (raw[at] === 255) continue; // more of the same gap follows
    while (number >= first + units - 1 - i) first += units - 1 - i++;
    const place = heads[255 - codes[e]]++;
    out.i[place] = i;
    out.j[place] = number - first + i + 1;
    out.code[place] = codes[e++];
  }
  return out;
}
