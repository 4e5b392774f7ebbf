// Lists the sha256 of the bundles in book/_static/vendor and of their licences.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const vendor = here("../book/_static/vendor/");

mkdirSync(vendor, { recursive: true });

const digest = (name) => createHash("sha256").update(readFileSync(vendor + name)).digest("hex");
const names = readdirSync(vendor).filter((name) => name !== "SHA256SUMS").sort();
writeFileSync(`${vendor}SHA256SUMS`, names.map((name) => `${digest(name)}  ${name}\n`).join(""));
