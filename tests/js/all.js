/** Every test in one process: `node --import ./support/register.js all.js`, or one of the files in this one's place. */
import { readdirSync } from "node:fs";

for (const folder of ["client", "shared", "watch", "overlay"]) {
  for (const file of readdirSync(new URL(folder, import.meta.url)).sort()) await import(`./${folder}/${file}`);
}
