/** Every test in one process: `node --import ./support/register.js all.js`. A test file in its place runs alone. */
import { readdirSync } from "node:fs";

for (const folder of ["client", "shared", "watch", "overlay"]) {
  for (const file of readdirSync(new URL(folder, import.meta.url)).sort()) await import(`./${folder}/${file}`);
}
