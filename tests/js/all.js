/** Every test in one process: `node --import ./support/register.js all.js`. Given names of test files, only those. */
import { readdirSync } from "node:fs";

const names = process.argv.slice(2);
for (const folder of names.length > 0 ? [] : ["client", "shared", "watch", "overlay"]) {
  for (const file of readdirSync(new URL(folder, import.meta.url)).sort()) names.push(`${folder}/${file}`);
}
for (const name of names) await import(`./${name}`);
