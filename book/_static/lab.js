// Draws the book's plotly figures: one copy of plotly.js, loaded when the first figure comes near; light and dark;
// legends below on a phone. The colour #000001 in a figure means "ink": black on a light page, light on a dark one.
(() => {
  const INK = "#000001";
  const NARROW = 560; // px of the figure, not of the window
  const root = document.documentElement;
  const script = document.currentScript.src;
  let library;

  const loadPlotly = () => (library ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    const element = document.createElement("script");
    element.src = new URL("vendor/plotly.min.js", script).href;
    element.onload = () => resolve(window.Plotly);
    element.onerror = () => reject(new Error("plotly.min.js could not be loaded"));
    document.head.append(element);
  }));

  const colours = () => {
    const style = getComputedStyle(root);
    const names = ["ink", "muted", "grid", "paper", "surface", "border"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--lab-${name}`).trim()]));
  };

  function template(c, narrow) {
    const font = { color: c.ink, family: getComputedStyle(document.body).fontFamily, size: narrow ? 12 : 14 };
    const axis = {
      gridcolor: c.grid, linecolor: c.muted, zerolinecolor: c.muted, tickcolor: c.muted, automargin: true,
      title: { standoff: 10 },
    };
    const control = {
      bgcolor: c.surface, bordercolor: c.border, activecolor: c.border, font: { color: c.ink },
      activebgcolor: c.border, tickcolor: c.muted, currentvalue: { font: { color: c.ink } },
    };
    const above = { orientation: "h", x: 0.5, xanchor: "center", y: 1.02, yanchor: "bottom", len: 1 };
    const bar = { outlinewidth: 0, ...(narrow ? { ...above, thickness: 10 } : { thickness: 16 }) };
    const marks = [{ marker: { colorbar: bar } }];
    return {
      data: { scatter: marks, scattergl: marks, bar: marks, heatmap: [{ colorbar: bar }] },
      layout: {
        paper_bgcolor: c.paper, plot_bgcolor: c.paper, font,
        xaxis: axis, yaxis: axis, coloraxis: { colorbar: bar },
        legend: { bgcolor: "rgba(0,0,0,0)", font: { color: c.ink } },
        margin: { l: narrow ? 40 : 64, r: 12, t: narrow ? 28 : 40, b: 56 },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: c.muted, activecolor: c.ink },
        hoverlabel: { align: "left", namelength: -1 },
        updatemenudefaults: control, sliderdefaults: control, annotationdefaults: { font: { color: c.ink } },
        shapedefaults: { line: { color: c.muted } },
        colorscale: { sequential: "Viridis", diverging: "RdBu" },
      },
    };
  }

  // A copy of `value` with every string equal to `from` replaced by `to`; typed arrays and the like stay as they are.
  function replace(value, from, to) {
    if (typeof value === "string") return value.toLowerCase() === from ? to : value;
    if (Array.isArray(value)) return value.map((item) => replace(item, from, to));
    if (!value || Object.getPrototypeOf(value) !== Object.prototype) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replace(item, from, to)]));
  }

  const axesOf = (layout, letter) => Object.keys(layout).filter((key) => new RegExp(`^${letter}axis\\d*$`).test(key));

  // Text broken at spaces into lines of at most so many pixels.
  const pen = document.createElement("canvas").getContext("2d");
  function broken(text, pixels, size) {
    pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    const lines = [];
    for (const word of String(text).split(/ (?![^(]*\))|<br>/)) { // what is in brackets stays together
      const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
      if (lines.length && pen.measureText(longer).width <= pixels) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines.join("<br>");
  }

  // The panels of a figure, row by row: names of their axes, domains, and the number of the note that is their title.
  function panelsOf(layout) {
    const panels = axesOf(layout, "x").filter((x) => layout[x].domain).map((x) => {
      const y = (layout[x].anchor ?? x.replace("x", "y")).replace(/^y(?!axis)/, "yaxis");
      const [[left, right], [bottom, top]] = [layout[x].domain, layout[y]?.domain ?? [0, 1]];
      const isTitle = (note) => note.xref === "paper" && note.yref === "paper"
        && Math.abs(note.x - (left + right) / 2) < 0.01 && Math.abs(note.y - top) < 0.01;
      return { x, y, left, right, bottom, top, title: (layout.annotations ?? []).findIndex(isTitle) };
    });
    const apart = new Set(panels.map(({ y }) => y)).size === panels.length && axesOf(layout, "y").length === panels.length;
    return apart ? panels.sort((a, b) => b.top - a.top || a.left - b.left) : [];
  }

  // Panels are drawn one below the other where there is no room for them side by side.
  function stacked(layout) {
    const panels = panelsOf(layout);
    if (new Set(panels.map(({ left }) => left)).size < 2) return { layout, panels: 1, rows: 1 };
    const result = structuredClone(layout);
    const share = 1 / (panels.length + 0.4 * (panels.length - 1)); // a gap of 0.4 panels holds an axis and the next title
    panels.forEach(({ x, y, left, title }, i) => {
      const top = 1 - 1.4 * i * share;
      const lowest = panels.findLast((panel) => panel.left === left); // of its column: it names the axis
      Object.assign(result[x], { domain: [0, 1], title: layout[lowest.x].title });
      result[y] = { ...result[y], domain: [Math.max(0, top - share), top], showticklabels: true };
      if (title >= 0) Object.assign(result.annotations[title], { x: 0.5, y: top, yanchor: "bottom" });
    });
    return { layout: result, panels: panels.length, rows: new Set(panels.map(({ top }) => top)).size };
  }

  // Titles of panels are no wider than the panel and stand clear of the next one.
  function titled(layout, width, narrow) {
    const size = narrow ? 13 : 14, panels = panelsOf(layout).filter(({ title }) => title >= 0);
    if (!panels.length) return layout;
    const annotations = structuredClone(layout.annotations);
    for (const { left, right, title } of panels) {
      const note = annotations[title], room = (right - left) * (width - (narrow ? 60 : 84));
      Object.assign(note, { text: broken(note.text, room, size), font: { ...note.font, size } });
    }
    return { ...layout, annotations };
  }

  // Long names on a vertical axis are broken into lines, or a phone has no room left for the plot.
  function wrapped(layout, data) {
    const onAxis = new Map(); // axis -> names on it
    for (const { y, yaxis } of data.filter((trace) => Array.isArray(trace.y))) {
      const axis = (yaxis ?? "y").replace("y", "yaxis");
      onAxis.set(axis, [...new Set([...(onAxis.get(axis) ?? []), ...y])]);
    }
    const every = [...new Set([...onAxis.values()].flat())];
    if (!every.some((name) => typeof name === "string" && name.length > 16)) return layout;
    const inLines = (name) => String(name).replace(/(.{10,20}?)\s/g, "$1<br>");
    const most = Math.max(...every.map((name) => inLines(name).split("<br>").length));
    const result = { ...layout, height: Math.max(layout.height ?? 450, 130 + 14 * (most + 0.5) * every.length / 0.8) };
    for (const [axis, names] of onAxis) {
      result[axis] = { ...layout[axis], tickmode: "array", tickvals: names, ticktext: names.map(inLines), tickfont: { size: 11 } };
    }
    return result;
  }

  const figures = new Map(); // plot element -> { figure, ink, width, area, below }

  function layoutFor(state, c) {
    const narrow = state.width < NARROW;
    const given = state.figure.layout;
    const { layout, panels, rows } = narrow ? stacked(wrapped(given, state.figure.data)) : { layout: given, panels: 1, rows: 1 };
    const result = { ...replace(titled(layout, state.width, narrow), INK, c.ink), template: template(c, narrow), width: state.width };
    result.height = layout.height ?? 450;
    state.area = result.height - 130;
    if (narrow) state.area = Math.max(Math.min(state.area, 280), 0.8 * state.area / rows) * (1 + 0.9 * (panels - 1));
    for (const axis of narrow ? axesOf(result, "y") : []) {
      result[axis] = { ...result[axis], title: { ...result[axis].title, font: { size: 12 } } };
    }
    if (narrow || state.below) {
      result.height = state.area + 130;
      const y = -64 / state.area;
      const place = { orientation: "h", x: 0, xanchor: "left", y, yanchor: "top", maxheight: 5000 };
      const columns = 2 * (state.entry + 46) < state.width - 76;
      result.legend = { ...result.legend, ...place, entrywidth: columns ? state.entry : undefined };
    }
    if (matchMedia("(pointer: coarse)").matches) result.dragmode = false; // a finger on a figure scrolls the page
    return result;
  }

  // A legend that takes a third of the width, needs a scroll bar or squeezes several panels goes below. The plot keeps
  // its height however tall the legend is: the figure grows instead.
  async function arrange(element, state) {
    const legend = element._fullLayout.legend;
    const widest = () => 8 + Math.max(0, ...[...element.querySelectorAll(".legendtext")].map((text) => text.getBBox().width));
    state.entry ??= widest();
    const room = state.width - element._fullLayout._size.l - 46; // beside an entry's sample
    if (state.width < NARROW && state.entry > room) {
      await window.Plotly.restyle(element, { name: state.figure.data.map(({ name }) => name && broken(name, room - 8, 12)) });
      state.entry = widest();
    }
    const panels = axesOf(state.figure.layout, "x").length > 1 && state.width < 1000;
    const large = legend && (panels || legend._width > state.width / 3 || legend._height > legend._effHeight);
    if (large && !state.below && state.width >= NARROW) {
      state.below = true;
      await window.Plotly.react(element, element.data, layoutFor(state, colours()));
    }
    for (let pass = 0; pass < 4 && (state.below || state.width < NARROW); pass++) {
      const missing = Math.round(state.area - element._fullLayout._size.h);
      if (Math.abs(missing) < 4) return;
      await window.Plotly.relayout(element, { height: element._fullLayout.height + missing });
    }
  }

  // What stands in the page's address: lines that are switched off, axes that are zoomed, the step of a slider.
  const hidden = (data) => data.flatMap(({ visible }, i) => (visible === "legendonly" ? [i] : [])).join(",");
  const sliderOf = (layout) => layout.sliders?.[0];
  const ZOOM = /^([xy]axis\d*)\.(range(?:\[0\])?|autorange)$/;

  function remember(element, state) {
    const tell = () => {
      const texts = {}, off = hidden(element.data), step = String(sliderOf(element.layout)?.active ?? 0);
      if (off !== hidden(state.figure.data)) texts.off = off;
      if (step !== String(sliderOf(state.figure.layout)?.active ?? 0)) texts.step = step;
      for (const axis of state.zoomed) texts[axis] = element.layout[axis].range.map((end) => Number(Number(end).toPrecision(6))).join(",");
      if (!state.restoring) globalThis.labState.write(state.name, texts);
    };
    element.on("plotly_restyle", tell);
    element.on("plotly_sliderchange", () => setTimeout(tell));
    element.on("plotly_relayout", (changes) => {
      for (const [key, value] of Object.entries(changes)) {
        const [, axis, what] = key.match(ZOOM) ?? [];
        if (axis && what !== "autorange") state.zoomed.add(axis);
        else if (axis && value) state.zoomed.delete(axis);
      }
      tell();
    });
  }

  // The figure as these texts say; what is not among them, or makes no sense, is as it was at the start.
  async function restore(element, state, texts) {
    const { Plotly } = window, { data, layout } = state.figure, names = ["x", "y"].flatMap((letter) => axesOf(element._fullLayout, letter));
    state.restoring = true;
    const off = new Set((texts.off ?? hidden(data)).split(",").filter(Boolean).map(Number));
    const visible = data.map((trace, i) => (off.has(i) ? "legendonly" : trace.visible === "legendonly" ? true : trace.visible ?? true));
    if (hidden(element.data) !== [...off].join(",")) await Plotly.restyle(element, { visible });
    const step = sliderOf(layout)?.steps[texts.step ?? sliderOf(layout).active ?? 0];
    if (step && Number(texts.step ?? sliderOf(layout).active ?? 0) !== (sliderOf(element.layout).active ?? 0)) {
      await Plotly.relayout(element, { "sliders[0].active": Number(texts.step ?? sliderOf(layout).active ?? 0) });
      await Plotly[step.method](element, ...step.args);
    }
    const changes = {};
    for (const axis of names) {
      const ends = (texts[axis] ?? "").split(",").map(Number);
      if (texts[axis] && ends.length === 2 && ends.every(Number.isFinite) && ends[0] !== ends[1]) changes[`${axis}.range`] = ends;
      else if (state.zoomed.has(axis)) {
        if (layout[axis]?.range) changes[`${axis}.range`] = [...layout[axis].range];
        else changes[`${axis}.autorange`] = layout[axis]?.autorange ?? true;
      }
    }
    state.zoomed = new Set(names.filter((axis) => changes[`${axis}.range`] && texts[axis]));
    if (Object.keys(changes).length) await Plotly.relayout(element, changes);
    state.zoomed = new Set(names.filter((axis) => changes[`${axis}.range`] && texts[axis]));
    state.restoring = false;
  }

  async function plot(element, state, data) {
    const config = {
      displayModeBar: state.width < NARROW ? false : "hover", displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      showSendToCloud: false, plotlyServerURL: "", // nothing leaves the page
      toImageButtonOptions: { filename: state.file },
    };
    const named = data.map((trace, i) => ({ ...trace, name: state.figure.data[i].name })); // in one line again
    await window.Plotly.newPlot(element, named, layoutFor(state, colours()), config);
    await arrange(element, state);
    if (state.figure.frames) await window.Plotly.addFrames(element, replace(state.figure.frames, INK, state.ink));
    const asked = globalThis.labState.read(state.name);
    remember(element, state);
    globalThis.labLegend.follow(element);
    state.zoomed.clear();
    if (Object.keys(asked).length) await restore(element, state, asked);
  }

  const fileOf = (box) => box.querySelector(".lab-tools a[download]").download.replace(/\.csv$/, ""); // names the page, too
  const nameOf = (box) => box.querySelector(".lab-tools a[download]").getAttribute("href").split("/").at(-1).replace(/\.csv$/, "");

  // Buttons under a figure, for the keyboard too: its picture, the page's address, the figure as it was.
  function equip(box) {
    const element = box.querySelector(".lab-plot"), name = nameOf(box);
    const drawn = () => mount(box).then(() => figures.get(element));
    globalThis.labState.tools(box.querySelector(".lab-tools"), {
      picture: async (format) => {
        const { width } = await drawn();
        await window.Plotly.downloadImage(element, { format, filename: fileOf(box), width, height: element._fullLayout.height, scale: format === "png" ? 2 : 1 });
      },
      reset: async () => {
        const state = await drawn();
        await restore(element, state, {});
        globalThis.labState.write(name, {});
      },
    });
    globalThis.labState.follow(name, (texts) => { if (element.dataset.drawn) restore(element, figures.get(element), texts); });
  }

  async function mount(box) {
    await loadPlotly();
    const element = box.querySelector(".lab-plot");
    if (figures.has(element)) return;
    const figure = JSON.parse(box.querySelector(".lab-json").textContent);
    const state = { figure, name: nameOf(box), file: fileOf(box), zoomed: new Set(), ink: colours().ink, width: element.clientWidth };
    figures.set(element, state);
    await plot(element, state, replace(figure.data, INK, state.ink));
    element.style.minHeight = "";
    element.dataset.drawn = "yes";
    watch.observe(element);
  }

  // What the reader did to a figure (zoom, lines switched off) lives in element.data and element.layout and stays.
  function repaint(element) {
    const state = figures.get(element);
    if (!element.data) return;
    const c = colours();
    const data = replace(element.data, state.ink, c.ink);
    const layout = { ...replace(element.layout, state.ink, c.ink), template: template(c, state.width < NARROW) };
    state.ink = c.ink;
    window.Plotly.react(element, data, layout);
  }

  async function resize(element) {
    const state = figures.get(element);
    const width = element.clientWidth;
    if (!width || width === state.width || !element.layout) return;
    const anew = width < NARROW || state.width < NARROW; // plotly keeps margins of what is no longer there
    Object.assign(state, anew ? { width, below: false, entry: undefined } : { width });
    if (anew) await plot(element, state, element.data);
    else {
      await window.Plotly.relayout(element, { width, annotations: titled(element.layout, width, false).annotations });
      await arrange(element, state);
    }
  }

  let waiting; // a side bar that slides in changes the width many times
  const watch = new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => figures.forEach((_, element) => resize(element)), 150);
  });

  const draw = (box) => mount(box).catch((error) => {
    console.error(error);
    box.classList.add("lab-failed");
  });

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "600px" });

  const boxes = [...document.querySelectorAll(".lab-figure")];
  boxes.forEach(equip);
  boxes.forEach((box) => near.observe(box));

  const repaintAll = () => figures.forEach((_, element) => repaint(element));
  new MutationObserver(repaintAll).observe(root, { attributes: true, attributeFilter: ["data-theme"] });

  // The side bar stands at its top, with the book's title and the search, where the page's own entry is seen there.
  addEventListener("load", () => {
    const bar = document.querySelector(".bd-sidebar-primary"), own = bar?.querySelector(".toctree-l1.current");
    if (own && bar.scrollTop && own.offsetTop + own.offsetHeight < bar.clientHeight) bar.scrollTop = 0;
  });

  // A page that was opened from a folder may read no other, so that the search shows what it found without excerpts.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  // Paper is white, whatever the screen.
  let screenTheme;
  addEventListener("beforeprint", () => {
    screenTheme = root.dataset.theme;
    root.dataset.theme = "light";
    repaintAll();
    boxes.forEach(draw);
  });
  addEventListener("afterprint", () => { if (screenTheme) root.dataset.theme = screenTheme; });
})();
