/** Events that a server told make the room that the server then had. The Python client has the same test. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { folded } from "../support/folded.js";

/** @type {import("../support/folded.js").Vector[]} */
const vectors = JSON.parse(readFileSync(new URL("../../../protocol/folds/vectors.json", import.meta.url), "utf8"));

for (const vector of vectors) {
  test(`${vector.name.replaceAll("_", " ")}: the folded room is the server's`, async () => {
    assert.deepEqual(await folded(vector), vector.room);
  });
}
