/** The generated files in protocol/web are up to date. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { WEB, generated } from "../generate.mjs";

test("folds and declarations are up to date: otherwise run `make types`", () => {
  for (const [path, text] of Object.entries(generated())) {
    assert.equal(readFileSync(join(WEB, path), "utf8"), text, path);
  }
});
