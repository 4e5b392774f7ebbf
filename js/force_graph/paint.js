// The canvas: five strokes for all edges, a disc for each node, and what is in focus.

// Okabe and Ito's colours and four more that can be told from them; groups beyond these are grey.
export const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#B5508A", "#999933", "#7D76D0", "#44AA99"];
const GREY = "#808080";
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const STEPS = 5; // strokes for the edges
const TAU = 2 * Math.PI;

export function shade(part) {
  const at = Math.min(Math.max(part, 0), 1) * (SCALE.length - 1), low = Math.min(Math.floor(at), SCALE.length - 2);
  const mix = SCALE[low].map((value, k) => Math.round(value + (SCALE[low + 1][k] - value) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

// A function unit -> colour for a way of colouring at snapshot t.
export function colouring(data, number, t) {
  const { meta } = data, { units } = meta, kind = meta.colours[number];
  if (kind.labels) {
    const start = kind.offset + (kind.moving ? t * units : 0);
    return (unit) => PALETTE[data.groups[start + unit]] ?? GREY;
  }
  if (kind.name === "none") return () => PALETTE[0];
  const values = (kind.name === "norm" ? data.norms : data.shares).subarray(t * units, (t + 1) * units);
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const shades = Array.from({ length: 17 }, (_, k) => shade(k / 16));
  return (unit) => shades[Math.round((16 * (values[unit] - low)) / (high - low || 1))];
}

export function paint(context, graph, view, colour, theme, focus) {
  const { width, height, ratio, zoom, x, y } = view;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.translate(width / 2 + x, height / 2 + y);
  context.scale(zoom, zoom);
  edges(context, graph, zoom, theme);
  nodes(context, graph, colour);
  if (focus) near(context, graph, focus, zoom, theme);
  context.globalAlpha = 1;
}

function edges(context, graph, zoom, theme) {
  const strongest = graph.edges.reduce((most, edge) => Math.max(most, edge.weight), 1e-9);
  const paths = Array.from({ length: STEPS }, () => new Path2D());
  for (const { source, target, weight } of graph.edges) {
    const path = paths[Math.min(Math.floor((STEPS * weight) / strongest), STEPS - 1)];
    path.moveTo(source.x, source.y);
    path.lineTo(target.x, target.y);
  }
  context.strokeStyle = theme.ink;
  paths.forEach((path, k) => {
    context.globalAlpha = 0.06 + 0.1 * k;
    context.lineWidth = (0.5 + 0.12 * k) / zoom; // wider than a pixel would cost five times as much
    context.stroke(path);
  });
}

function nodes(context, graph, colour) {
  for (const node of graph.nodes) {
    context.globalAlpha = node.gone ? 0.13 : 0.95;
    context.fillStyle = colour(node.unit);
    context.beginPath();
    context.arc(node.x, node.y, node.radius, 0, TAU);
    context.fill();
  }
}

function near(context, graph, focus, zoom, theme) {
  context.globalAlpha = 1;
  context.strokeStyle = theme.ink;
  context.lineWidth = 1.5 / zoom;
  context.beginPath();
  for (const { source, target } of graph.edges) {
    if (source !== focus && target !== focus) continue;
    context.moveTo(source.x, source.y);
    context.lineTo(target.x, target.y);
  }
  context.stroke();
  context.lineWidth = 2.5 / zoom;
  context.beginPath();
  context.arc(focus.x, focus.y, focus.radius + 3 / zoom, 0, TAU);
  context.stroke();
}
