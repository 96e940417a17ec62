/** The rules of the linter: eslint's own recommendations, and rules that keep modules small and errors visible. */
import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import globals from "globals";

const PAGES = ["server/web/**/*.js", "protocol/web/**/*.js"];
const CHECKS = ["tests/js/**/*.{js,mjs}"];
const AS_MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "write"];
const AS_TEXT = "text goes into a page as text: see el() in server/web/shared/dom.js";

export default defineConfig([
  globalIgnores(["tests/js/node_modules/"]),
  {
    files: [...PAGES, ...CHECKS],
    plugins: { js },
    extends: ["js/recommended"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      complexity: ["error", 12],
      "consistent-this": "error",
      "default-case-last": "error",
      "dot-notation": "error",
      eqeqeq: "error",
      "max-depth": ["error", 3],
      "max-len": ["error", 120],
      "max-lines": ["error", 400],
      "max-lines-per-function": ["error", 60],
      "no-alert": "error",
      "no-constructor-return": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-extend-native": "error",
      "no-implicit-coercion": "error",
      "no-implied-eval": "error",
      "no-lonely-if": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-return-assign": ["error", "always"],
      "no-script-url": "error",
      "no-self-compare": "error",
      "no-sequences": "error",
      "no-shadow": "error",
      "no-template-curly-in-string": "error",
      "no-throw-literal": "error",
      "no-unmodified-loop-condition": "error",
      "no-unneeded-ternary": "error",
      "no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "no-useless-concat": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "one-var": ["error", "never"],
      "prefer-arrow-callback": "error",
      "prefer-const": "error",
      "prefer-object-has-own": "error",
      "prefer-object-spread": "error",
      "prefer-promise-reject-errors": "error",
      "prefer-rest-params": "error",
      "prefer-template": "error",
      radix: "error",
    },
  },
  {
    files: PAGES,
    languageOptions: { globals: globals.browser },
    rules: {
      "no-console": ["error", { allow: ["error"] }],
      "no-restricted-properties": ["error", ...AS_MARKUP.map((property) => ({ property, message: AS_TEXT }))],
    },
  },
  { files: CHECKS, languageOptions: { globals: { ...globals.node, ...globals.browser } } },
]);
