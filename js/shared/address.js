// Settings in the page's address, after #~ : name.setting=text, only those that differ from the start.
// In a notebook the address belongs to the notebook, so this is for pages alone.

const onPage = () => document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]') !== null;
const fields = () => new URLSearchParams(location.hash.startsWith("#~") ? location.hash.slice(2) : "");

// The texts that the address has for this name: { setting: text }.
export function read(name) {
  if (!onPage()) return {};
  const mine = [...fields()].filter(([key, text]) => key.startsWith(`${name}.`) && text.trim() !== "");
  return Object.fromEntries(mine.map(([key, text]) => [key.slice(name.length + 1), text]));
}

// `settings` is { setting: text }, null for what is as it was at the start.
export function write(name, settings) {
  if (!onPage()) return;
  const all = fields();
  for (const [key, text] of Object.entries(settings)) {
    if (text === null) all.delete(`${name}.${key}`);
    else all.set(`${name}.${key}`, text);
  }
  const text = all.toString();
  if (text || location.hash.startsWith("#~")) history.replaceState(history.state, "", text ? `#~${text}` : location.pathname + location.search);
}
