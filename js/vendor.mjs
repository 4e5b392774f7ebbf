// Copies the released scripts that the pages use, with their licences, into book/_static/vendor and lists their sha256.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const vendor = here("../book/_static/vendor/");

const copied = {
  "tex-svg-full.js": "mathjax/es5/tex-svg-full.js",
  "tex-svg-full.LICENSE.txt": "mathjax/LICENSE",
};

mkdirSync(vendor, { recursive: true });
for (const [name, path] of Object.entries(copied)) copyFileSync(here(`node_modules/${path}`), vendor + name);

const digest = (name) => createHash("sha256").update(readFileSync(vendor + name)).digest("hex");
const names = readdirSync(vendor).filter((name) => name !== "SHA256SUMS").sort();
writeFileSync(`${vendor}SHA256SUMS`, names.map((name) => `${digest(name)}  ${name}\n`).join(""));
