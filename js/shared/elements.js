// Elements that every widget has: labelled sliders and menus, buttons, and keys that stay in the widget.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A labelled slider; `show` makes the text beside it. Returns { row, set }.
export function slider(label, attributes, show, change) {
  const output = make("output");
  const input = make("input", { type: "range", ...attributes, oninput: () => change(Number(input.value)) });
  const set = (value) => {
    input.value = value;
    output.textContent = show(value);
    input.setAttribute("aria-valuetext", show(value));
  };
  return { row: make("label", { class: "pl-row" }, make("span", {}, label), input, output), set, input };
}

export function menu(label, names, change) {
  const select = make("select", { onchange: () => change(select.selectedIndex) }, ...names.map((name) => make("option", {}, name)));
  return { row: make("label", { class: "pl-row" }, make("span", {}, label), select), set: (value) => { select.selectedIndex = value; }, select };
}

export const capital = (word) => word[0].toUpperCase() + word.slice(1);
export const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);

// The page around has keys of its own (in JupyterLab X cuts the cell): here they are the widget's, with Ctrl or Alt still the page's.
export function ownKeys(el, signal) {
  el.addEventListener("keydown", (event) => { if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation(); }, { signal });
}
