// The explorer as an anywidget module: the model's table and choice in, one chart and its controls out.
import { fromAddress, offered, settle, toAddress } from "./explorer/choose.js";
import { nearest, show, step } from "./explorer/cursor.js";
import { decode } from "./explorer/decode.js";
import { drawMarks, shown } from "./explorer/marks.js";
import { inWords, panel, showLegend } from "./explorer/panel.js";
import { axes, drawAxes } from "./explorer/scales.js";
import { paint, rows } from "./explorer/take.js";
import { follow as followAddress, read, write } from "./shared/address.js";
import { draw, ownKeys } from "./shared/elements.js";
import { save } from "./shared/files.js";

function render({ model, el }) {
  const began = performance.now();
  const data = decode(model), { meta } = data, last = meta.controls.findLastIndex((control) => control.slider);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const stop = new AbortController(), { signal } = stop;
  const layers = { axes: draw("g"), marks: draw("g"), cursor: draw("g") };
  let now = settle(data, model.get("choice")), found = [], room = null, at = null, playing = -1, drawn = 0, timer, keeping, telling;

  el.classList.add("pl-widget", "pl-explorer");
  ownKeys(el, signal);
  const file = (end) => [meta.name, ...meta.controls.map(({ values }, c) => values[now[c]])].join("-").replace(/[^\w.-]+/g, "_") + end;
  const ui = panel(el, data, {
    pick: (c, place) => { play(-1); pick(c, place); },
    play: (c) => play(playing === c ? -1 : c),
    reset: () => { play(-1); change(meta.start); },
    picture: () => { look(null); paint(ui.svg, getComputedStyle(el).getPropertyValue("--pl-paper") || "#fff", file(".png")); },
    rows: () => save(file(".csv"), rows(data, now, found)),
  });
  ui.svg.append(layers.axes, layers.marks, layers.cursor);

  // The choice: whoever makes one (a control here, one linked in the page, a kernel) goes through the model.
  function change(choice) {
    if (choice.join() === model.get("choice").join()) return;
    model.set("choice", choice);
    model.save_changes();
  }
  const pick = (c, place) => change(settle(data, Object.assign([...now], { [c]: place }), now));
  function follow() {
    const next = settle(data, model.get("choice"), now);
    if (next.join() !== model.get("choice").join()) return change(next);
    if (next.join() === now.join()) return;
    now = next;
    update();
    keep();
  }
  function update() {
    for (const control of ui.controls) control.follow(now);
    ui.caption.textContent = data.caption(data.row(now));
    repaint();
  }
  function repaint() {
    if (!room) return;
    found = shown(data, data.row(now), room);
    layers.marks.replaceChildren(...drawMarks(found, room));
    showLegend(ui.legend, found);
    look(at);
    tell();
    ui.svg.dataset.drawn = ++drawn; // tests and the benchmark read these
    ui.svg.dataset.first ??= Math.round(performance.now() - began);
  }
  // Screen readers hear of a choice when it has come to rest.
  function tell() {
    clearTimeout(telling);
    telling = setTimeout(() => {
      ui.summary.textContent = [data.caption(data.row(now)), inWords(data, now, found)].join(" ").trim();
      if (!at) ui.svg.setAttribute("aria-label", whole());
    }, 250);
  }
  const whole = () => `${meta.title || meta.y.label}. ${ui.summary.textContent}`;
  function keep() {
    clearTimeout(keeping);
    keeping = setTimeout(() => write(meta.name, toAddress(data, now)), 200);
  }

  // Playing: one step after the other; slower where a reader has asked for less motion.
  function play(c) {
    if (c === playing) return;
    clearTimeout(timer);
    if (playing >= 0) ui.controls[playing].play.textContent = "Play";
    playing = c;
    ui.summary.setAttribute("aria-live", c < 0 ? "polite" : "off");
    if (c < 0) return;
    ui.controls[c].play.textContent = "Pause";
    const places = offered(data, now, c);
    if (now[c] === places.at(-1)) pick(c, places[0]);
    const pause = still.matches ? 1000 : Math.min(Math.max(8000 / places.length, 60), 700);
    timer = setTimeout(function next() {
      const place = places[places.indexOf(now[c]) + 1];
      if (place === undefined) return play(-1);
      pick(c, place);
      if (place === places.at(-1)) return play(-1);
      timer = setTimeout(next, pause);
    }, pause);
  }

  // Mouse, finger and keys: what is known of a point.
  function look(point) {
    at = point && found[point.series]?.points[point.k] ? point : null;
    const said = show(layers.cursor, ui.card, meta, found, room, at);
    ui.svg.setAttribute("aria-label", said && ui.svg.matches(":focus") ? said : whole());
  }
  const listen = (type, handler) => ui.svg.addEventListener(type, handler, { signal });
  const under = (event) => {
    const box = ui.svg.getBoundingClientRect();
    look(nearest(found, event.clientX - box.left, event.clientY - box.top));
  };
  listen("pointerdown", under);
  listen("pointermove", under);
  listen("pointerleave", (event) => { if (event.pointerType !== "touch") look(null); });
  listen("blur", () => look(null));
  const along = (by, across = 0) => look(step(found, at, by, across));
  const slide = (by) => {
    const places = last < 0 ? [] : offered(data, now, last), place = places[places.indexOf(now[last]) + by];
    if (place !== undefined) { play(-1); pick(last, place); }
  };
  const keys = {
    ArrowRight: () => along(1), ArrowLeft: () => along(-1), ArrowUp: () => along(0, -1), ArrowDown: () => along(0, 1),
    Home: () => along(-Infinity), End: () => along(Infinity), Escape: () => look(null),
    "[": () => slide(-1), "]": () => slide(1), " ": () => { if (last >= 0) play(playing === last ? -1 : last); },
  };
  listen("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  function resize() {
    const { clientWidth: width, clientHeight: height } = ui.svg;
    if (!width || !height) return;
    room = axes(meta, width, height);
    layers.axes.replaceChildren(drawAxes(room, meta));
    repaint();
  }
  const sizes = new ResizeObserver(resize);
  sizes.observe(ui.svg);
  model.on("change:choice", follow);
  resize();
  update();
  change(fromAddress(data, read(meta.name), now));
  followAddress(meta.name, signal, (texts) => { play(-1); change(fromAddress(data, texts, meta.start)); });

  return () => {
    stop.abort();
    [timer, keeping, telling].forEach(clearTimeout);
    sizes.disconnect();
    model.off("change:choice", follow);
  };
}

export default { render };
