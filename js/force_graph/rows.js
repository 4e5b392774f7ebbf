// What a reader takes away: the picture as PNG, the units of all snapshots and the edges in sight as CSV.

export function save(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
const table = (rows) => rows.map((row) => row.map(cell).join(",") + "\n").join("");

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

export function picture(canvas, theme, name) {
  const copy = document.createElement("canvas");
  Object.assign(copy, { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d");
  context.fillStyle = theme.paper;
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  copy.toBlob((blob) => save(name, blob));
}
