// The units of all snapshots and the edges in sight, as CSV.
import { table } from "../shared/files.js";
import { inNet } from "./decode.js";

const place = (meta, unit) => (meta.nets.length > 1 ? inNet(meta, unit) : [unit]);

export function unitRows({ meta, norms, shares, groups }) {
  const kinds = meta.colours.filter((kind) => kind.labels);
  const rows = [[meta.time, ...(meta.nets.length > 1 ? ["net", "unit"] : ["unit"]), "norm", "share_of_frame_potential", ...kinds.map((kind) => kind.name)]];
  meta.epochs.forEach((epoch, t) => {
    for (let unit = 0; unit < meta.units; unit++) {
      const at = t * meta.units + unit;
      const labels = kinds.map((kind) => kind.labels[groups[kind.offset + (kind.moving ? at : unit)]] ?? "");
      rows.push([epoch, ...place(meta, unit), norms[at].toPrecision(5), shares[at].toPrecision(5), ...labels]);
    }
  });
  return table(rows);
}

export function edgeRows(graph, meta, settings) {
  const rows = graph.own().map(({ source, target, cosine }) =>
    [meta.epochs[settings.snapshot], ...place(meta, source.unit), ...place(meta, target.unit), cosine.toFixed(4), graph.weight(cosine, settings).toPrecision(4)]);
  const ends = meta.nets.length > 1 ? ["net", "unit", "other_net", "other"] : ["unit", "other"];
  return table([[meta.time, ...ends, "cosine", "weight"], ...rows]);
}
