// Draws the figures of a report that stands alone, in the page's colours; #000001 in a figure means the page's ink.
(() => {
  const INK = "#000001", NARROW = 560; // px of the plot
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const inked = (value) => {
    if (value === INK) return colour("ink");
    if (Array.isArray(value)) return value.map(inked);
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, inked(item)]));
  };

  const template = (narrow) => {
    const axis = { gridcolor: colour("grid"), linecolor: colour("muted"), zerolinecolor: colour("muted"), automargin: true };
    return {
      layout: {
        paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"), xaxis: axis, yaxis: axis,
        font: { color: colour("ink"), family: "system-ui, sans-serif", size: narrow ? 12 : 14 },
        margin: { l: narrow ? 40 : 64, r: 12, t: 16, b: 56 }, hoverlabel: { align: "left", namelength: -1 },
      },
    };
  };

  const draw = (figure) => {
    const box = figure.querySelector(".plot"), { data, layout } = JSON.parse(figure.querySelector("script").textContent);
    const narrow = box.clientWidth < NARROW, legend = { orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" };
    const own = { ...layout, template: template(narrow), legend, width: box.clientWidth, height: layout.height ?? 450 };
    return Plotly.react(box, inked(data), inked(own), { displaylogo: false, displayModeBar: false });
  };

  const all = () => Promise.all([...document.querySelectorAll("figure")].map(draw)).then(() => {
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  });
  let width = innerWidth;
  dark.addEventListener("change", all);
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; all(); } });
  all();
})();
