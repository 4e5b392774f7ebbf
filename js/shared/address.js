// Settings in the page's address, after #~ : name.setting=text, only those that differ from the start.
// In a notebook the address belongs to the notebook, so this is for pages alone.

export const onPage = () => document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]') !== null;
const inAddress = () => location.hash.startsWith("#~");
const fields = () => new URLSearchParams(inAddress() ? location.hash.slice(2) : "");

// What the settings of all widgets are, also while the address names a section instead. Every widget has its own copy of
// this module, so what they share hangs on the page.
const SHARED = Symbol.for("pruning_lab.settings");
const settings = () => (globalThis[SHARED] ??= fields());

// The texts that are set for this name: { setting: text }.
export function read(name) {
  if (!onPage()) return {};
  const mine = [...settings()].filter(([key, text]) => key.startsWith(`${name}.`) && text.trim() !== "");
  return Object.fromEntries(mine.map(([key, text]) => [key.slice(name.length + 1), text]));
}

// `texts` is { setting: text }, null for what is as it was at the start.
export function write(name, texts) {
  if (!onPage()) return;
  const all = settings();
  for (const [key, text] of Object.entries(texts)) {
    if (text === null) all.delete(`${name}.${key}`);
    else all.set(`${name}.${key}`, text);
  }
  const text = all.toString();
  if (text || inAddress()) history.replaceState(history.state, "", text ? `#~${text}` : location.pathname + location.search);
}

// The address into the clipboard; where a browser forbids that, a field from which it can be copied.
export async function copyLink({ target }) {
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  if (!copied) return prompt("Copy this address:", location.href);
  const { textContent } = target;
  target.textContent = "Copied";
  setTimeout(() => { target.textContent = textContent; }, 1500);
}

// `handler` gets what `read` gives whenever a reader puts another address into the same page.
export function follow(name, signal, handler) {
  if (!onPage()) return;
  addEventListener("hashchange", () => {
    if (!inAddress()) return;
    globalThis[SHARED] = fields();
    handler(read(name));
  }, { signal });
}
