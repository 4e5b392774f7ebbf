// Settings in the page's address, after #~ : name.setting=value, only those that differ from the start.
// In a notebook the address belongs to the notebook, so this is for pages alone.

const onPage = () => document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]') !== null;
const rounded = (value) => Math.round(value * 1e4) / 1e4; // a slider has rounding errors of its own
const fields = () => new URLSearchParams(location.hash.startsWith("#~") ? location.hash.slice(2) : "");

export function read(name, start) {
  if (!onPage()) return {};
  const found = {};
  for (const [key, text] of fields()) {
    const setting = key.startsWith(`${name}.`) ? key.slice(name.length + 1) : "";
    if (setting in start && text.trim() !== "" && Number.isFinite(Number(text))) found[setting] = Number(text);
  }
  return found;
}

export function write(name, settings, start) {
  if (!onPage()) return;
  const all = fields();
  for (const key of Object.keys(start)) {
    if (rounded(settings[key]) === rounded(start[key])) all.delete(`${name}.${key}`);
    else all.set(`${name}.${key}`, String(rounded(settings[key])));
  }
  const text = all.toString();
  if (text || location.hash.startsWith("#~")) history.replaceState(history.state, "", text ? `#~${text}` : location.pathname + location.search);
}
