// What a reader made of the page's figures stands in its address, after #~ : name.setting=text, as the widgets' own
// settings do (js/shared/address.js), only what differs from the start. Works from a folder, without a kernel.
globalThis.labState = (() => {
  const SHARED = Symbol.for("pruning_lab.settings"); // what all figures and widgets of the page have in common
  const inAddress = () => location.hash.startsWith("#~");
  const fields = () => new URLSearchParams(inAddress() ? location.hash.slice(2) : "");
  const settings = () => (globalThis[SHARED] ??= fields());
  const followers = new Map(); // name -> what is done with another address
  let waiting;

  // The texts that are set for this name: { setting: text }.
  function read(name) {
    const mine = [...settings()].filter(([key]) => key.startsWith(`${name}.`));
    return Object.fromEntries(mine.map(([key, text]) => [key.slice(name.length + 1), text]));
  }

  // All texts of a name; what is not among them is as it was at the start.
  function write(name, texts) {
    const all = settings();
    for (const key of [...all.keys()]) if (key.startsWith(`${name}.`)) all.delete(key);
    for (const [key, text] of Object.entries(texts)) all.set(`${name}.${key}`, text);
    clearTimeout(waiting);
    waiting = setTimeout(keep, 200);
  }

  function keep() {
    clearTimeout(waiting);
    const text = settings().toString();
    if (text || inAddress()) history.replaceState(history.state, "", text ? `#~${text}` : location.pathname + location.search);
  }

  addEventListener("hashchange", () => {
    if (!inAddress()) return;
    globalThis[SHARED] = fields();
    followers.forEach((restore, name) => restore(read(name)));
  });

  const button = (text, title, act) => {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, title });
    made.addEventListener("click", act);
    return made;
  };

  // The address into the clipboard; where a browser forbids that, a field from which it can be copied.
  async function copy(event) {
    keep();
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    if (!copied) prompt("Copy this address:", location.href);
    else Object.assign(event.target, { textContent: "Copied" });
    setTimeout(() => { event.target.textContent = "Copy link"; }, 1500);
  }

  function save(name, content, type) {
    const link = document.createElement("a");
    link.href = typeof content === "string" ? URL.createObjectURL(new Blob([content], { type })) : URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Buttons behind a figure's other tools: its picture, the address, and what undoes everything.
  function tools(line, { picture, reset }) {
    const kinds = ["png", "svg"].map((kind) => button(kind.toUpperCase(), `Download the picture as ${kind.toUpperCase()}`, () => picture(kind)));
    line.append(...kinds, button("Copy link", "Copy the page's address with what is set here", copy), button("Reset", "The figure as it was", reset));
  }

  // Drawings of SVG elements side by side as one picture, with the page's styles written into it.
  const KEPT = ["display", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];
  function drawing(drawings) {
    let left = 0, height = 0;
    const parts = drawings.map((svg) => {
      const copied = svg.cloneNode(true), own = svg.querySelectorAll("*"), { width, height: tall } = svg.viewBox.baseVal;
      copied.querySelectorAll("*").forEach((element, k) => {
        const style = getComputedStyle(own[k]);
        for (const key of KEPT) element.style.setProperty(key, style.getPropertyValue(key));
      });
      for (const [key, value] of Object.entries({ x: left, y: 0, width, height: tall })) copied.setAttribute(key, value);
      left += width;
      height = Math.max(height, tall);
      return new XMLSerializer().serializeToString(copied);
    });
    const paper = getComputedStyle(document.body).backgroundColor;
    return { width: left, height, text: `<svg xmlns="http://www.w3.org/2000/svg" width="${left}" height="${height}" viewBox="0 0 ${left} ${height}">` +
      `<rect width="100%" height="100%" fill="${paper}"/>${parts.join("")}</svg>` };
  }

  // The page's own name, which begins that of every file that is taken from it.
  const page = () => decodeURIComponent(location.pathname.split("/").at(-1)).replace(/\.html$/, "") || "index";

  function picture(name, drawings, kind) {
    const { width, height, text } = drawing(drawings);
    if (kind === "svg") return save(`${name}.svg`, text, "image/svg+xml");
    const image = new Image(), canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
    image.onload = () => {
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(`${name}.png`, blob));
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }

  // A form of sliders and choices: what is set stands in the address, and comes from there.
  function form(figure, name) {
    const own = figure.querySelector("form"), line = document.createElement("div");
    const fieldsOf = () => [...own.elements].filter((field) => field.name);
    const start = new Map(fieldsOf().map((field) => [field, field.type === "radio" ? field.checked : field.value]));
    const changed = (field) => (field.type === "radio" ? field.checked && !start.get(field) : field.value !== start.get(field));
    const choices = ({ name: of }) => fieldsOf().filter((field) => field.name === of).map((field) => field.value);
    const keepAll = () => write(name, Object.fromEntries(fieldsOf().filter(changed).map((field) => [field.name, field.value])));
    function restore(texts, tell = true) {
      for (const field of fieldsOf()) {
        const given = texts[field.name]; // somebody may have typed it
        if (field.type === "radio") field.checked = choices(field).includes(given) ? field.value === given : start.get(field);
        else field.value = given !== undefined && Number.isFinite(Number(given)) ? given : start.get(field);
      }
      if (tell) own.dispatchEvent(new Event("input"));
    }
    own.addEventListener("input", keepAll);
    followers.set(name, restore);
    line.className = "lab-tools";
    tools(line, { picture: (kind) => picture(`${page()}-${name}`, [...figure.querySelectorAll("svg")], kind), reset: () => restore({}) });
    own.after(line);
    restore(read(name), false);
  }

  return { read, write, tools, form, follow: (name, restore) => followers.set(name, restore) };
})();
