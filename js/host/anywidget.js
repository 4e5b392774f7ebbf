// anywidget is released for require.js alone. `define` stands in for it while the file runs.
let factory;
const before = globalThis.define;
globalThis.define = (_, made) => { factory = made; };

export function anywidget(base) {
  if (before) globalThis.define = before;
  else delete globalThis.define;
  return factory(base);
}
