/** The mistakes that `make mutants-js` knows: each must still fit its file, or the target would only say that. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ARGUED, KNOWN } from "../known_mistakes.js";
import { mistakes } from "../mistakes.js";

/** @param {string} file */
const source = (file) => readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");

test("each known mistake fits one place in its file", () => {
  const unfit = KNOWN.filter(([file, right]) => source(file).split(right).length !== 2);
  assert.deepEqual(unfit, []);
});

test("each argued mistake can still be made", () => {
  const unfit = ARGUED.filter(({ file, line, change }) => {
    const lines = source(file).split("\n").map((each) => each.trim());
    return !mistakes(source(file)).some((made) => made.change === change && lines[made.line - 1] === line);
  });
  assert.deepEqual(unfit, []);
});
