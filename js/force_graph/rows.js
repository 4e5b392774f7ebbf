// The units of all snapshots and the edges in sight, as CSV.
import { table } from "../shared/files.js";

export function unitRows({ meta, norms, shares, groups }) {
  const kinds = meta.colours.filter((kind) => kind.labels);
  const rows = [[meta.time, "unit", "norm", "share_of_frame_potential", ...kinds.map((kind) => kind.name)]];
  meta.epochs.forEach((epoch, t) => {
    for (let unit = 0; unit < meta.units; unit++) {
      const at = t * meta.units + unit;
      const labels = kinds.map((kind) => kind.labels[groups[kind.offset + (kind.moving ? at : unit)]] ?? "");
      rows.push([epoch, unit, norms[at].toPrecision(5), shares[at].toPrecision(5), ...labels]);
    }
  });
  return table(rows);
}

export function edgeRows(graph, meta, snapshot) {
  const rows = graph.edges.filter((edge) => edge.to !== null)
    .map(({ source, target, to, weight }) => [meta.epochs[snapshot], source.unit, target.unit, to.toFixed(4), weight.toPrecision(4)]);
  return table([[meta.time, "unit", "other", "cosine", "weight"], ...rows]);
}
