// The forces: charge, links as distances, a pull to the centre. Nodes keep their places whatever else changes.
import { forceLink, forceManyBody, forceSimulation, forceX, forceY } from "d3-force";

export const KERNELS = [
  (cosine, sigma) => Math.exp(-(1 - cosine) / (sigma * sigma)),
  (cosine, sigma) => Math.exp(-(((1 - cosine) / 2) ** 2) / (sigma * sigma)),
];

export function layout(data) {
  const { units } = data.meta;
  const nodes = Array.from({ length: units }, (_, unit) => ({ unit, radius: 0, gone: false }));
  const links = forceLink([]);
  const charge = forceManyBody().theta(1).distanceMax(500);
  const simulation = forceSimulation(nodes).alphaDecay(0.025).velocityDecay(0.45).stop()
    .force("charge", charge).force("links", links)
    .force("x", forceX().strength(0.06)).force("y", forceY().strength(0.06));
  const largest = Math.min(10, Math.max(4, 150 / Math.sqrt(units)));
  const graph = { nodes, edges: [], simulation };

  // The edges at or above the cut-off in snapshot a or b, without those of removed units.
  graph.join = (a, b, cutoff) => {
    const known = new Map();
    const edges = [];
    for (const [t, side] of a === b ? [[a, "both"]] : [[a, "from"], [b, "to"]]) {
      const { i, j, code } = data.snapshot(t);
      const least = data.least(t, cutoff);
      for (let e = 0; e < i.length && code[e] >= least; e++) {
        if (nodes[i[e]].gone || nodes[j[e]].gone) continue;
        const cosine = data.cosine(code[e]), key = i[e] * units + j[e];
        const edge = side === "to" ? known.get(key) : undefined;
        if (edge) { edge.to = cosine; continue; }
        const made = { source: nodes[i[e]], target: nodes[j[e]], from: null, to: null, weight: 0 };
        if (side !== "to") made.from = cosine;
        if (side !== "from") made.to = cosine;
        if (side === "from") known.set(key, made);
        edges.push(made);
      }
    }
    const degree = new Uint16Array(units);
    for (const { source, target } of edges) { degree[source.unit]++; degree[target.unit]++; }
    for (const edge of edges) edge.share = 1 / Math.min(degree[edge.source.unit], degree[edge.target.unit]);
    graph.edges = edges;
    links.strength(0).links(edges);
  };

  // Weights and sizes at the fraction f of the way from snapshot a to b.
  graph.weigh = (a, b, f, { sigma, kernel }) => {
    const weight = (cosine) => (cosine === null ? 0 : KERNELS[kernel](cosine, sigma));
    for (const edge of graph.edges) edge.weight = (1 - f) * weight(edge.from) + f * weight(edge.to);
    links.strength((edge) => edge.weight * edge.share);
    for (const node of nodes) {
      const norm = (1 - f) * data.norms[a * units + node.unit] + f * data.norms[b * units + node.unit];
      node.radius = Math.max(largest * Math.sqrt(norm / (data.meta.norm || 1)), 1);
    }
  };

  graph.force = (strength, distance) => {
    charge.strength(-strength);
    links.distance(distance);
  };

  graph.remove = (order, count) => {
    for (const node of nodes) node.gone = false;
    for (let rank = 0; rank < Math.min(count, order.length); rank++) nodes[order[rank]].gone = true;
  };

  // The number of nodes in the largest connected group of those that are left.
  graph.largestGroup = () => {
    const parent = Uint16Array.from(nodes, (node) => node.unit), size = new Uint16Array(units).fill(1);
    const root = (n) => { while (parent[n] !== n) n = parent[n] = parent[parent[n]]; return n; };
    for (const { source, target } of graph.edges) {
      const s = root(source.unit), t = root(target.unit);
      if (s !== t) { parent[s] = t; size[t] += size[s]; }
    }
    return nodes.reduce((most, node) => (node.gone ? most : Math.max(most, size[root(node.unit)])), 0);
  };
  return graph;
}
