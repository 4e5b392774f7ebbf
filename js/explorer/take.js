// What a reader takes away: the picture as PNG, the rows in sight as CSV.
import { picture, table } from "../shared/files.js";

export function rows({ meta }, choice, found) {
  const chosen = meta.controls.map(({ values }, c) => values[choice[c]]);
  const lines = found.flatMap(({ series, curve }) => Array.from(curve.x, (x, k) => [...chosen, series.name, x, Number.isNaN(curve.y[k]) ? "" : curve.said(curve.y[k])]));
  return table([[...meta.controls.map(({ name }) => name), "series", meta.x.name, meta.y.name], ...lines]);
}

const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "font-family", "font-size", "font-weight", "text-anchor"];

// The drawing with the page's styles written into it, so that it stands alone.
export function paint(svg, paper, name) {
  const { width, height } = svg.getBoundingClientRect(), copy = svg.cloneNode(true), ratio = 2;
  const own = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, k) => {
    const style = getComputedStyle(own[k]);
    for (const key of KEPT) element.style.setProperty(key, style.getPropertyValue(key));
  });
  for (const [key, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width: width * ratio, height: height * ratio, viewBox: `0 0 ${width} ${height}` })) copy.setAttribute(key, value);
  const image = new Image();
  image.onload = () => picture(image, width * ratio, height * ratio, paper, name);
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
}
