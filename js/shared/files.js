// What a reader takes away: text and pictures as downloads; on a page of the book their names begin with its own.
import { onPage } from "./address.js";

const page = () => decodeURIComponent(location.pathname.split("/").at(-1)).replace(/\.html$/, "") || "index";

export function save(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: "text/csv" }));
  link.download = onPage() ? `${page()}-${name}` : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// No spreadsheet takes a cell for a formula: an apostrophe stands before what could be one; numbers stay.
const formula = /^(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])/;
const number = /^[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)$/i;
const inert = (text) => (formula.test(text) && !number.test(text) ? `'${text}` : text);

const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
export const table = (rows) => rows.map((row) => row.map((value) => cell(inert(String(value)))).join(",") + "\n").join("");

// What is drawn in a canvas or an image, on paper of the page's colour, as PNG.
export function picture(drawn, width, height, paper, name) {
  const copy = document.createElement("canvas");
  Object.assign(copy, { width, height });
  const context = copy.getContext("2d");
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  context.drawImage(drawn, 0, 0, width, height);
  copy.toBlob((blob) => save(name, blob));
}
