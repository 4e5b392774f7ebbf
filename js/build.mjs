// Bundles the scripts of widgets and pages. The same packages give the same bytes; `vendor.mjs` then lists them.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const common = {
  absWorkingDir: here("."), bundle: true, minify: true, target: "es2022", legalComments: "none", logLevel: "warning", metafile: true,
};

// A style sheet that a package imports becomes a style element of the page, ahead of the page's own; fonts stay out.
const styles = {
  name: "styles",
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const fonts = Object.fromEntries([".woff", ".woff2", ".ttf", ".eot"].map((end) => [end, "empty"]));
      const loader = { ".css": "css", ".svg": "dataurl", ...fonts };
      const made = await esbuild.build({ ...common, metafile: false, entryPoints: [path], write: false, loader });
      const text = JSON.stringify(made.outputFiles[0].text);
      return { contents: `const style = document.createElement("style"); style.textContent = ${text}; document.head.prepend(style);`, loader: "js" };
    });
  },
};

// Of the fonts of formulas the alphabets that no page needs: Fraktur, sans serif, typewriter, old-style digits, bold script.
const SPARED = [[0x1d4d0, 0x1d537], [0x1d56c, 0x1d6a3]]; // Unicode's places of these letters
const alphabets = {
  name: "alphabets",
  setup(build) {
    const spared = (line) => {
      const place = parseInt(line.match(/^\s*(0x[0-9A-F]+):/)?.[1]);
      return SPARED.some(([first, last]) => place >= first && place <= last);
    };
    const text = (path) => readFileSync(path, "utf8");
    build.onLoad({ filter: /svg\/fonts\/tex\/normal\.js$/ }, ({ path }) => ({
      contents: text(path).split("\n").filter((line) => !spared(line)).join("\n"),
    }));
    build.onLoad({ filter: /svg\/fonts\/tex\/(fraktur|sans-serif|monospace|tex-oldstyle|tex-calligraphic-bold)[a-z-]*\.js$/ }, ({ path }) => ({
      contents: text(path).replace(/AddPaths\)\([^,]*, \{[^]*?\}, \{[^]*?\}\)/, "AddPaths)({}, {}, {})"),
    }));
  },
};

// anywidget gives a widget two seconds to begin, its script three: on a busy machine that is too short. A minute is not.
const patience = {
  name: "patience",
  setup(build) {
    build.onLoad({ filter: /node_modules\/anywidget\/dist\/index\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8"), patient = text.replace(/AbortSignal\.timeout\([23]e3\)/g, "AbortSignal.timeout(6e4)");
      if (patient.split("timeout(6e4)").length !== 3) throw new Error("anywidget's two limits of time are not where they were");
      return { contents: patient };
    });
  },
};

// The graph ticks its simulation itself, from its own frames: d3's timer never runs, so nothing of it is needed.
const byHand = {
  name: "by hand",
  setup(build) {
    build.onLoad({ filter: /node_modules\/d3-timer\/.*js$/ }, () => ({
      contents: "export const timer = () => ({ restart() {}, stop() {} });",
    }));
  },
};

// The licence of every package that is in a bundle, for the file beside it.
function licences(metafile) {
  const found = Object.keys(metafile.inputs).map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]);
  return [...new Set(found)].filter(Boolean).sort().map((name) => {
    const folder = here(`node_modules/${name}/`);
    const { version, license } = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file && license !== "BSD-3-Clause") throw new Error(`${name} comes without its licence`);
    const text = readFileSync(file ? folder + file : here("host/BSD-3-Clause.txt"), "utf8").trim(); // Jupyter's packages
    return `${name} ${version}\n\n${text}\n`;
  }).join(`\n${"-".repeat(80)}\n\n`);
}

async function bundle(source, target, options) {
  const { metafile } = await esbuild.build({ ...common, ...options, entryPoints: [source], outfile: here(target) });
  writeFileSync(here(target.replace(/\.js$/, ".LICENSE.txt")), licences(metafile));
  console.log(target, readFileSync(here(target)).length);
}

if (!existsSync(here("node_modules"))) throw new Error("npm install comes first");
await bundle("force_graph.src.js", "../pruning_lab/widgets/static/force_graph.js", { format: "esm", plugins: [byHand] });
await bundle("explorer.src.js", "../pruning_lab/widgets/static/explorer.js", { format: "esm" });
await bundle("widgets_host.src.js", "../book/_static/vendor/widgets-host.js", {
  format: "iife", plugins: [styles, patience], define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
});
await bundle("formulas.src.js", "../book/_static/vendor/formulas.js", {
  format: "iife", plugins: [alphabets], define: { PACKAGE_VERSION: '"3.2.2"' },
});
