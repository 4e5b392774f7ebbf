// The force graph as an anywidget module: the model's settings in, one canvas and its controls out.
import { decode } from "./force_graph/decode.js";
import { layout } from "./force_graph/layout.js";
import { colouring, paint } from "./force_graph/paint.js";
import { name, panel, showCurve, showLegend, showUnit } from "./force_graph/panel.js";
import { edgeRows, unitRows } from "./force_graph/rows.js";
import { follow as followAddress, read, write } from "./shared/address.js";
import { capital, ownKeys } from "./shared/elements.js";
import { picture, save } from "./shared/files.js";

const GLIDE = 350; // ms from one snapshot to the next when the slider is moved by hand
const BEFORE = 150; // ms of layout before the first picture
const ALL = "1,0,0", AXES = ["x", "y"];
const within = (low, value, high) => Math.max(low, Math.min(value, high));

function render({ model, el }) {
  const began = performance.now();
  const data = decode(model), { meta } = data, { start } = meta, last = meta.epochs.length - 1;
  const graph = layout(data), { nodes, simulation } = graph;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const view = { width: 0, height: 0, ratio: 1, fit: 0, own: 1, zoom: 1, x: 0, y: 0 };
  const theme = { ink: "", paper: "" };
  const stop = new AbortController(), { signal } = stop;
  let playing = false, focus = null, held = null, visible = true, frame = 0, before = 0, drawn = 0, colour, telling, keeping, timer;

  el.classList.add("pl-widget", "pl-force-graph");
  ownKeys(el, signal);
  const ui = panel(el, data, change, {
    play: () => change("playing", !playing), zoom,
    reset: () => { change("playing", false); zoom(0); for (const key of Object.keys(start)) change(key, start[key]); },
    picture: () => picture(ui.canvas, ui.canvas.width, ui.canvas.height, theme.paper, `${meta.name}-${meta.time}-${meta.epochs[now.snapshot]}.png`),
    units: () => save(`${meta.name}-units.csv`, unitRows(data)),
    edges: () => save(`${meta.name}-edges-${meta.time}-${meta.epochs[now.snapshot]}.csv`, edgeRows(graph, meta, now)),
  });
  const context = ui.canvas.getContext("2d");
  const now = Object.fromEntries(Object.keys(start).map((key) => [key, bounded(key, model.get(key))]));
  const glide = { f: 1, ms: 0 }; // the part of the way to the snapshot that is done, and how long all of it takes

  // Settings: whoever changes one (a slider here, one linked in the page, a kernel) goes through the model.
  function change(key, value) {
    if (model.get(key) === value) return;
    model.set(key, value);
    model.save_changes();
  }
  // A setting may come from an address that somebody typed.
  function bounded(key, value) {
    const menus = { order: meta.orders.length, colour: meta.colours.length, kernel: 2, speed: meta.speeds.length };
    const { min = 0, max } = ui.sliders[key]?.input ?? { max: menus[key] - 1 };
    const inside = within(Number(min), value, Number(max));
    return ["cutoff", "sigma", "charge", "distance"].includes(key) ? inside : Math.round(inside) || 0;
  }
  function follow(key) {
    const value = bounded(key, model.get(key));
    if (value === now[key]) return;
    now[key] = value;
    ui.sliders[key]?.set(value);
    if (key === "snapshot") go();
    if (key === "removed" || key === "order") removal();
    if (key === "colour") recolour();
    if (key === "charge" || key === "distance") graph.force(now.charge, now.distance);
    if (key === "cutoff") join();
    if (key !== "colour" && key !== "speed") warm(0.4);
    weigh();
    tell();
    keep();
    ask();
  }
  const handlers = [...Object.keys(start).map((key) => [`change:${key}`, () => follow(key)]), ["change:playing", () => setPlaying(model.get("playing"))]];
  for (const [event, handler] of handlers) model.on(event, handler);

  const join = () => graph.join(now.snapshot, now.cutoff);
  const weigh = () => graph.weigh(now.snapshot, glide.f, now);
  const warm = (alpha) => simulation.alpha(Math.max(simulation.alpha(), alpha));
  function recolour() {
    colour = colouring(data, now.colour, now.snapshot);
    showLegend(ui.legend, data, now.colour);
  }
  function removal() {
    const order = meta.orders[now.order];
    if (!order) return;
    graph.remove(order.units, now.removed);
    showCurve(ui.curve, order, now.removed);
    join();
  }
  const pace = () => 1000 / meta.speeds[now.speed];
  function go() {
    const ms = still.matches ? 0 : playing ? pace() : GLIDE;
    Object.assign(glide, { f: ms ? 0 : 1, ms });
    if (ms) graph.leave();
    else graph.arrive();
    if (playing && !ms) {
      clearTimeout(timer); // another view of the same graph may have made the step
      timer = setTimeout(next, pace());
    }
    recolour();
    join();
  }
  function setPlaying(on) {
    if (on === playing) return;
    playing = on;
    clearTimeout(timer);
    ui.play.textContent = on ? "Pause" : "Play";
    ui.summary.setAttribute("aria-live", on ? "off" : "polite");
    if (!on) tell();
    else if (last && (now.snapshot === last || now.snapshot < birth())) change("snapshot", birth()); // and goes on by itself
    else next();
  }
  // The snapshot before the first that has an edge: nobody has to wait through those in which nothing is joined.
  function birth() {
    const joined = ({ code }, t) => code.length > 0 && code[0] >= data.least(t, now.cutoff);
    return Math.max(meta.epochs.findIndex((_, t) => joined(data.snapshot(t), t)) - 1, 0);
  }
  function next() {
    if (!playing) return;
    if (glide.f < 1) return; // the loop comes back at the end of the way
    if (now.snapshot === last) return change("playing", false);
    change("snapshot", now.snapshot + 1);
  }

  function advance(elapsed) {
    if (glide.f >= 1) return;
    glide.f = Math.min(1, glide.f + elapsed / glide.ms);
    if (glide.f === 1) {
      graph.arrive();
      join();
      weigh();
      if (playing) next(); // which sets out from these weights
    }
    weigh();
    warm(0.15);
  }
  const ask = () => { if (!frame && visible && !signal.aborted) frame = requestAnimationFrame(loop); };
  function loop(time) {
    frame = 0;
    advance(Math.min(time - (before || time), 100));
    before = time;
    if (simulation.alpha() > simulation.alphaMin()) {
      if (still.matches) for (const end = performance.now() + 200; performance.now() < end && simulation.alpha() > simulation.alphaMin();) simulation.tick();
      else simulation.tick();
    }
    draw();
    if (simulation.alpha() > simulation.alphaMin() || glide.f < 1) ask();
    else before = 0;
  }
  function draw() {
    if (!view.width) return;
    let reach = 40;
    for (const node of nodes) reach = Math.max(reach, (Math.abs(node.x) + node.radius) * (view.height / view.width), Math.abs(node.y) + node.radius);
    const fit = Math.min(view.height / (2 * reach + 12), 4);
    view.fit = view.fit && !still.matches ? view.fit + 0.12 * (fit - view.fit) : fit;
    view.zoom = view.fit * view.own;
    paint(context, graph, view, colour, theme, focus);
    ui.canvas.dataset.frames = ++drawn; // tests and the benchmark read these
    ui.canvas.dataset.first ??= Math.round(performance.now() - began);
  }
  function zoom(factor) {
    if (!factor) return see();
    view.own = within(0.3, view.own * factor, 12);
    ui.canvas.style.touchAction = view.own > 1 ? "none" : ""; // a finger moves what is larger than its frame, else the page
    moved();
  }
  const moved = () => { keep(); ask(); };
  // What is in sight, as the address has it: how much larger, and how far its middle is away, in widths of the graph.
  const sight = () => [view.own, ...AXES.map((axis) => view[axis] / (view.width || 1))].map(rounded).join();
  function see(text = ALL) {
    const [own, ...middle] = text.split(",").map(Number);
    AXES.forEach((axis, k) => { view[axis] = (Math.abs(middle[k]) < 9 ? middle[k] : 0) * ui.canvas.clientWidth; });
    view.own = own || 1; // somebody may have typed it
    zoom(1);
  }

  // What is said: at once on the page, to screen readers when things have come to rest.
  function tell() {
    clearTimeout(telling);
    telling = setTimeout(() => {
      const t = now.snapshot, floor = meta.floors[t], left = nodes.filter((node) => !node.gone).length;
      const short = floor > now.cutoff + 0.005 && meta.counts[t] < (meta.units * (meta.units - 1)) / 2
        ? ` Weaker pairs than ${floor.toFixed(2)} are not stored for this snapshot.` : "";
      ui.summary.textContent = `${capital(meta.time)} ${meta.epochs[t]}: ${left} of ${meta.units} units, ${graph.own().length} edges with a cosine of at least ` +
        `${now.cutoff.toFixed(2)}; the largest connected group has ${graph.largestGroup()} units.${short}`;
      label();
    }, playing ? 0 : 250);
    const ends = [...new Set([Math.min, Math.max].map((end) => end(...meta.floors).toFixed(2)))].join(" to ");
    const whole = Math.min(...meta.counts) >= (meta.units * (meta.units - 1)) / 2;
    const kept = whole ? "All pairs are stored" : `The slider begins at the weakest pair stored. A snapshot holds all pairs above ${ends}, and each unit's three nearest`;
    ui.note.textContent = `${kept}, in steps of ${((meta.high - meta.low) / 255).toPrecision(2)}.`;
    showUnit(ui.details, data, now.snapshot, focus);
  }
  function keep() {
    clearTimeout(keeping);
    keeping = setTimeout(() => write(meta.name, { ...Object.fromEntries(Object.keys(start).map((key) => [key, said(key)])), view: sight() === ALL ? null : sight() }), 200);
  }
  const rounded = (value) => Math.round(value * 1e4) / 1e4; // a slider has rounding errors of its own
  const said = (key) => (rounded(now[key]) === rounded(start[key]) ? null : String(rounded(now[key])));
  function look(node) {
    if (focus === node) return;
    focus = node;
    showUnit(ui.details, data, now.snapshot, focus);
    ui.canvas.dataset.focus = node ? node.unit : "";
    label();
    ask();
  }
  function label() { // the unit looked at, else the graph
    const unit = focus && `Unit ${name(meta, focus.unit)}. ${ui.details.innerText.replace(/\n+/g, ". ")}`;
    ui.canvas.setAttribute("aria-label", unit ?? `${meta.title}. ${ui.summary.textContent}`);
  }

  // Mouse, pen and finger: over a node for what is known of it, drag a node or the ground, two fingers or Ctrl + wheel to zoom.
  const place = (event) => {
    const box = ui.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - view.width / 2 - view.x) / view.zoom, (event.clientY - box.top - view.height / 2 - view.y) / view.zoom];
  };
  // The unit whose disc is there, of several the one whose middle is nearest; else the nearest within a finger's or a pointer's breadth.
  function under(event) {
    const [x, y] = place(event), breadth = (event.pointerType === "touch" ? 24 : 12) / view.zoom;
    let best = null, least = Infinity;
    for (const node of nodes) {
      const far = Math.hypot(node.x - x, node.y - y), inside = far <= node.radius, rank = inside ? far : far + 1e6;
      if ((inside || far <= breadth) && rank < least) [best, least] = [node, rank];
    }
    return best;
  }
  const fingers = new Map();
  const listen = (type, handler, options = {}) => ui.canvas.addEventListener(type, handler, { signal, ...options });
  listen("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    letGo();
    if (fingers.size > 1) return;
    const node = under(event);
    look(node);
    held = { node, x: event.clientX - view.x, y: event.clientY - view.y };
    if (node || view.own > 1 || event.pointerType !== "touch") ui.canvas.setPointerCapture(event.pointerId);
  });
  listen("pointermove", (event) => {
    if (fingers.size > 1) return pinch(event);
    if (held) fingers.set(event.pointerId, event);
    if (!held) return look(under(event));
    if (held.node) {
      [held.node.fx, held.node.fy] = place(event);
      warm(0.2);
    } else Object.assign(view, { x: event.clientX - held.x, y: event.clientY - held.y });
    moved();
  });
  // What two fingers hold stays between them.
  function pinch(event) {
    const was = grip(), { own } = view;
    fingers.set(event.pointerId, event);
    const is = grip();
    zoom(is.far / was.far);
    for (const axis of AXES) view[axis] = is[axis] - (was[axis] - view[axis]) * (view.own / own);
  }
  function grip() {
    const [a, b] = [...fingers.values()], box = ui.canvas.getBoundingClientRect();
    return {
      far: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1,
      x: (a.clientX + b.clientX - box.left - box.right) / 2, y: (a.clientY + b.clientY - box.top - box.bottom) / 2,
    };
  }
  function letGo() {
    if (held?.node) held.node.fx = held.node.fy = null;
    held = null;
  }
  const release = (event) => { fingers.delete(event.pointerId); letGo(); };
  listen("pointerup", release);
  listen("pointercancel", release);
  listen("pointerleave", (event) => { if (!held && event.pointerType !== "touch" && document.activeElement !== ui.canvas) look(null); });
  listen("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); zoom(Math.exp(-event.deltaY / 300)); } }, { passive: false });

  const step = (by) => find(nodes[((focus ? focus.unit : by > 0 ? -1 : 0) + by + nodes.length) % nodes.length]);
  // Look at a unit, and bring it into the frame if it is outside.
  function find(node) {
    for (const [axis, size] of [["x", view.width], ["y", view.height]]) {
      const at = size / 2 + view[axis] + node[axis] * view.zoom;
      if (at < 20 || at > size - 20) view[axis] -= at - size / 2;
    }
    keep();
    look(node);
  }
  const pan = (x, y) => { view.x += x; view.y += y; moved(); };
  const arrow = (by, x, y) => (event) => (event.shiftKey ? pan(-x, -y) : step(by));
  const keys = {
    ArrowRight: arrow(1, 40, 0), ArrowDown: arrow(1, 0, 40), ArrowLeft: arrow(-1, -40, 0), ArrowUp: arrow(-1, 0, -40),
    n: () => { const near = focus && data.nearest(now.snapshot, focus.unit, 1)[0]; if (near) find(nodes[near.unit]); },
    "[": () => change("snapshot", Math.max(now.snapshot - 1, 0)), "]": () => change("snapshot", Math.min(now.snapshot + 1, last)),
    " ": () => change("playing", !playing), "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoom(0), Escape: () => look(null),
  };
  listen("keydown", (event) => {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act(event);
  });
  listen("blur", () => look(null));

  // The page around it: size, colours, whether it is in sight.
  function resize() {
    const width = ui.canvas.clientWidth, height = ui.canvas.clientHeight;
    if (!width || !height) return;
    Object.assign(view, { width, height, ratio: devicePixelRatio || 1, fit: 0 });
    Object.assign(ui.canvas, { width: Math.round(width * view.ratio), height: Math.round(height * view.ratio) });
    draw();
    ask();
  }
  function repaint() {
    const style = getComputedStyle(el);
    Object.assign(theme, { ink: style.getPropertyValue("--pl-ink").trim() || style.color, paper: style.getPropertyValue("--pl-paper").trim() || "#fff" });
    ask();
  }
  const sizes = new ResizeObserver(resize);
  const themes = new MutationObserver(repaint);
  const sighted = new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; ask(); });
  for (const root of [document.documentElement, document.body]) {
    themes.observe(root, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
  }

  for (const [key, control] of Object.entries(ui.sliders)) control.set(now[key]);
  graph.force(now.charge, now.distance);
  recolour();
  join();
  removal();
  weigh();
  for (const end = performance.now() + BEFORE; performance.now() < end && simulation.alpha() > 0.1;) simulation.tick();
  repaint();
  sizes.observe(ui.canvas);
  sighted.observe(ui.canvas);
  tell();
  const asked = (texts) => Object.keys(start).filter((key) => Number.isFinite(Number(texts[key] ?? NaN)));
  const obey = (texts) => { for (const key of asked(texts)) change(key, bounded(key, Number(texts[key]))); };
  const told = read(meta.name);
  obey(told);
  followAddress(meta.name, signal, (texts) => {
    change("playing", false);
    see(texts.view);
    obey({ ...start, ...Object.fromEntries(asked(texts).map((key) => [key, texts[key]])) });
  });
  see(told.view);
  resize();
  setPlaying(Boolean(model.get("playing")));

  return () => {
    stop.abort();
    cancelAnimationFrame(frame);
    [telling, keeping, timer].forEach(clearTimeout);
    for (const observer of [sizes, themes, sighted]) observer.disconnect();
    for (const [event, handler] of handlers) model.off(event, handler);
  };
}

export default { render };
