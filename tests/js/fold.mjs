/** Gives vectors of a file to liveroom.js: `node fold.mjs vectors.json` prints the room that it has after each. */
import { readFileSync } from "node:fs";

import { folded } from "./support/folded.js";

const [path = ""] = process.argv.slice(2);
/** @type {import("./support/folded.js").Vector[]} */
const vectors = JSON.parse(readFileSync(path, "utf8"));
const rooms = [];
for (const vector of vectors) rooms.push(await folded(vector));
console.log(JSON.stringify(rooms));
