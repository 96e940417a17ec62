/** Small mistakes in a JavaScript module, found in its syntax: what `mutants.mjs` tries. */
import { Linter } from "eslint";

/** @typedef {{line: number, change: string, text: string}} Mistake the module's text with it, and how it reads */
/** @typedef {any} Node of the syntax tree, as eslint has it */

/** @type {Record<string, string>} */
const SWAPS = {
  "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===",
  "+": "-", "-": "+", "*": "/", "/": "*", "**": "*", "%": "*", "&&": "||", "||": "&&",
};
const FUNCTIONS = ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"];
const STEPS = ["CallExpression", "AwaitExpression", "AssignmentExpression", "UpdateExpression", "ChainExpression"];
const PLAIN = ["Identifier", "MemberExpression", "CallExpression", "ChainExpression"];

/**
 * Every mistake inside of functions and in the fields of classes.
 * @param {string} text
 * @returns {Mistake[]}
 */
export function mistakes(text) {
  const linter = new Linter();
  linter.verify(text, [{ languageOptions: { ecmaVersion: "latest", sourceType: "module" } }]);
  const { ast, visitorKeys } = linter.getSourceCode();
  /** @type {Mistake[]} */
  const found = [];
  const of = (/** @type {Node} */ { range }) => text.slice(range[0], range[1]);
  /** @param {Node} node */
  const look = (node) => {
    for (const wrong of WRONGS[node.type]?.(node, of) ?? []) {
      const [begin, end] = node.range;
      const change = `${of(node)} -> ${wrong}`.replaceAll(/\s+/g, " ");
      found.push({ line: node.loc.start.line, change, text: text.slice(0, begin) + wrong + text.slice(end) });
    }
  };
  /**
   * @param {Node} node
   * @param {boolean} inside
   */
  const walk = (node, inside) => {
    if (inside) look(node);
    const runs = inside || FUNCTIONS.includes(node.type) || node.type === "PropertyDefinition";
    for (const name of visitorKeys[node.type] ?? []) {
      for (const child of [node[name]].flat()) if (child) walk(child, runs && name !== "params" && name !== "key");
    }
  };
  walk(ast, false);
  return found;
}

/** @param {Node} node */
const isStep = ({ expression: { type, callee } }) => STEPS.includes(type) && callee?.object?.name !== "console";

/** @type {Record<string, (node: Node, of: (node: Node) => string) => string[]>} what could stand in place of a node */
const WRONGS = {
  BinaryExpression: ({ operator, left, right }, of) => {
    const joins = [left, right].some(({ type, value }) => type === "TemplateLiteral" || typeof value === "string");
    return SWAPS[operator] && !(joins && operator === "+") ? [`(${of(left)} ${SWAPS[operator]} ${of(right)})`] : [];
  },
  LogicalExpression: ({ operator, left, right }, of) => {
    if (operator === "??") return right.value === null ? [] : [`(${of(left)})`];
    return [`(${of(left)} ${SWAPS[operator]} ${of(right)})`];
  },
  UnaryExpression: ({ operator, argument }, of) => (operator === "!" ? [`(${of(argument)})`] : []),
  Literal: ({ value }) => {
    if (typeof value === "number") return [`${value + 1}`];
    return typeof value === "boolean" ? [`${!value}`] : [];
  },
  ConditionalExpression: ({ test, consequent, alternate }, of) =>
    [`(${of(test)} ? ${of(alternate)} : ${of(consequent)})`],
  IfStatement: (node, of) =>
    (PLAIN.includes(node.test.type) ? [of(node).replace(of(node.test), () => `!(${of(node.test)})`)] : []),
  ExpressionStatement: (node) => (isStep(node) ? [";"] : []),
  ReturnStatement: ({ argument }) => (argument && ![null, false].includes(argument.value) ? ["return;"] : []),
  ContinueStatement: () => ["break;"],
};
