/** Ends the run with its first failure, and says its name: `mutants.mjs` wants to know no more. */
import { writeSync } from "node:fs";

const STDOUT = 1;

/** @param {AsyncIterable<{type: string, data: {name: string}}>} events */
export default async function* firstFailure(events) {
  for await (const { type, data } of events) {
    if (type !== "test:fail") continue;
    writeSync(STDOUT, data.name);
    process.exit(1);
  }
  yield "";
}
