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
  const leaving = new Map(); // what was shown when the way to the next snapshot began: pair -> weight
  const pair = (i, j) => i * units + j;

  // What is shown now is where the way begins.
  graph.leave = () => {
    leaving.clear();
    for (const { source, target, weight } of graph.edges) if (weight) leaving.set(pair(source.unit, target.unit), weight);
    for (const node of nodes) node.from = node.radius;
  };
  graph.arrive = () => leaving.clear();

  // The edges at or above the cut-off in snapshot t, and on the way to it those that fade; none of removed units.
  graph.join = (t, cutoff) => {
    const edges = [], fading = new Map(leaving);
    const add = (i, j, cosine, from) => {
      if (!nodes[i].gone && !nodes[j].gone) edges.push({ source: nodes[i], target: nodes[j], cosine, from, weight: from });
    };
    const { i, j, code } = data.snapshot(t), least = data.least(t, cutoff);
    for (let e = 0; e < i.length && code[e] >= least; e++) {
      const key = pair(i[e], j[e]);
      add(i[e], j[e], data.cosine(code[e]), fading.get(key) ?? 0);
      fading.delete(key);
    }
    for (const [key, from] of fading) add(Math.floor(key / units), key % units, null, from);
    const degree = new Uint16Array(units);
    for (const { source, target } of edges) { degree[source.unit]++; degree[target.unit]++; }
    for (const edge of edges) edge.share = 1 / Math.min(degree[edge.source.unit], degree[edge.target.unit]);
    graph.edges = edges;
    links.strength(0).links(edges);
  };

  // The edges of the snapshot itself, without those that fade.
  graph.own = () => graph.edges.filter((edge) => edge.cosine !== null);
  graph.weight = (cosine, { sigma, kernel }) => (cosine === null ? 0 : KERNELS[kernel](cosine, sigma));

  // Weights and sizes at the fraction f of the way to snapshot t.
  graph.weigh = (t, f, settings) => {
    for (const edge of graph.edges) edge.weight = (1 - f) * edge.from + f * graph.weight(edge.cosine, settings);
    links.strength((edge) => edge.weight * edge.share);
    for (const node of nodes) {
      const norm = data.norms[t * units + node.unit], radius = Math.max(largest * Math.sqrt(norm / (data.meta.norm || 1)), 1);
      node.radius = f < 1 ? (1 - f) * node.from + f * radius : radius;
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
    for (const { source, target } of graph.own()) {
      const s = root(source.unit), t = root(target.unit);
      if (s !== t) { parent[s] = t; size[t] += size[s]; }
    }
    return nodes.reduce((most, node) => (node.gone ? most : Math.max(most, size[root(node.unit)])), 0);
  };
  return graph;
}
