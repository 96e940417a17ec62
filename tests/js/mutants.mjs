/**
 * Proves that the tests can fail: makes one small mistake at a time in a copy, and runs them (`make mutants-js`).
 *
 * It tries the known mistakes, and a sample of each module's others, drawn by a seed. The tests of that name come
 * first, then those of the folder, then all. A mistake that survives needs a new test, or a reason in ARGUED.
 *
 * node tests/js/mutants.mjs [--only EXPRESSION] [--per-file 4] [--seed 1] [--jobs 1] [--again OUTPUT]
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { ARGUED, KNOWN } from "./known_mistakes.js";
import { mistakes } from "./mistakes.js";

/** @typedef {{file: string, change: string, text: string, why?: string}} Mutant */

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDERS = ["server/web", "protocol/web", "tests/js"];
const NODE = "exec node --disable-warning=ExperimentalWarning --import ./support/register.js"
  + " --test-reporter=./support/firstfailure.js all.js";
const NOT_COPIED = ["node_modules", "generated.test.js", "known.test.js"]; // these tests need what has no mistake
const CPU_S = 30; // a mistake may cause an endless loop
const TIMEOUT_MS = 120_000;
const WANTED = 0.9;

const { values: asked } = parseArgs({ options: {
  only: { type: "string", default: "" },
  "per-file": { type: "string", default: "4" },
  seed: { type: "string", default: "1" },
  jobs: { type: "string", default: "1" },
  again: { type: "string" }, // only those that survived in this output
} });

/** @param {string} file */
const source = (file) => readFileSync(join(ROOT, file), "utf8");

/** @returns {string[]} the modules that people read and write */
function modules() {
  const tracked = execFileSync("git", ["ls-files", "server/web", "protocol/web"], { cwd: ROOT, encoding: "utf8" });
  return tracked.split("\n").filter((file) => file.endsWith(".js") && RegExp(asked.only).test(file));
}

/** @returns {Mutant[]} */
function known() {
  return KNOWN.filter(([file]) => RegExp(asked.only).test(file)).map(([file, right, wrong]) => {
    const text = source(file);
    const change = `${right} -> ${wrong || "nothing"}`.replaceAll(/\s+/g, " ");
    return { file, change, text: text.replace(right, () => wrong) };
  });
}

/**
 * A sample of a module's mistakes: a change elsewhere in it keeps the others.
 * @param {string} file
 * @returns {Mutant[]}
 */
function sample(file) {
  const lines = source(file).split("\n");
  const drawn = mistakes(source(file)).map(({ line, change, text }) => {
    const code = lines[line - 1]?.trim();
    const why = ARGUED.find((each) => each.file === file && each.line === code && each.change === change)?.why;
    const place = createHash("sha1").update(`${asked.seed} ${file} ${code} ${change}`).digest("hex");
    return { file, change: `${line}: ${change}`, text, place, ...(why && { why }) };
  });
  return drawn.sort((a, b) => (a.place < b.place ? -1 : 1)).slice(0, Number(asked["per-file"]));
}

/**
 * @param {string} file
 * @param {string} change
 */
const kindOf = (file, change) => `${file}: ${change.replace(/^\d+: /, "")}`;

/** @returns {(mutant: Mutant) => boolean} */
function chosen() {
  if (asked.again === undefined) return () => true;
  const found = readFileSync(asked.again, "utf8").matchAll(/^SURVIVED (.*?): (.*)$/gm);
  const kinds = new Set(Array.from(found, ([, file = "", change = ""]) => kindOf(file, change)));
  return ({ file, change }) => kinds.has(kindOf(file, change));
}

/** A copy of what the tests need. */
class Tree {
  folder = mkdtempSync(join(tmpdir(), "liveroom-mutants-"));

  constructor() {
    const filter = (/** @type {string} */ path) => !NOT_COPIED.includes(basename(path));
    for (const each of FOLDERS) cpSync(join(ROOT, each), join(this.folder, each), { recursive: true, filter });
    symlinkSync(join(ROOT, "tests/js/node_modules"), join(this.folder, "tests/js/node_modules"));
  }
  remove() { rmSync(this.folder, { recursive: true }); }

  /**
   * @param {Mutant} mutant
   * @returns {Promise<string>} the test that notices, or ""
   */
  async failure({ file, text }) {
    writeFileSync(join(this.folder, file), text);
    try {
      for (const names of this.#stages(file)) {
        const failed = await this.#failureOf(names);
        if (failed) return failed;
      }
      return "";
    } finally {
      writeFileSync(join(this.folder, file), source(file));
    }
  }

  /**
   * @param {string} file
   * @returns {string[][]} names of test files; none for all
   */
  #stages(file) {
    const folder = file.startsWith("protocol") ? "client" : basename(join(file, ".."));
    const names = readdirSync(join(this.folder, "tests/js", folder)).map((name) => `${folder}/${name}`);
    const own = names.filter((name) => name === `${folder}/${basename(file, ".js")}.test.js`);
    return [own, names, []].filter((stage, index) => stage.length > 0 || index === 2);
  }

  /**
   * @param {string[]} names
   * @returns {Promise<string>}
   */
  #failureOf(names) {
    const command = `ulimit -t ${CPU_S}; ${[NODE, ...names].join(" ")}`;
    const cwd = join(this.folder, "tests/js");
    const child = spawn("sh", ["-c", command], { cwd, timeout: TIMEOUT_MS, stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { said += text; });
    return new Promise((resolve) => {
      child.on("close", (code) => { resolve(code === 0 ? "" : said.split("\n").at(-1) || "the end"); });
    });
  }
}

/** @type {Record<string, number>} */
const counts = { killed: 0, SURVIVED: 0, argued: 0 };
const mutants = [...known(), ...modules().flatMap(sample)].filter(chosen());

async function work() {
  const tree = new Tree();
  try {
    const same = { file: "protocol/web/liveroom.js", change: "", text: source("protocol/web/liveroom.js") };
    const failed = await tree.failure(same);
    if (failed) throw new Error(`without a mistake this fails: ${failed}`);
    for (let mutant = mutants.shift(); mutant; mutant = mutants.shift()) {
      const why = mutant.why ?? await tree.failure(mutant);
      const outcome = mutant.why ? "argued" : why ? "killed" : "SURVIVED";
      counts[outcome] = (counts[outcome] ?? 0) + 1;
      console.log(`${outcome.padEnd(8)} ${mutant.file}: ${mutant.change}${why && `  (${why})`}`);
    }
  } finally {
    tree.remove();
  }
}

await Promise.all(Array.from({ length: Number(asked.jobs) }, work));
const { killed = 0, SURVIVED: survived = 0, argued } = counts;
console.log(`${killed} of ${killed + survived} mutants killed, ${argued} argued, seed ${asked.seed}`);
process.exitCode = killed / (killed + survived) >= WANTED ? 0 : 1;
