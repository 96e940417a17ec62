/** Resolves imports as a node serves them: /web/ is server/web, and what is not there is protocol/web. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** @type {import("node:module").ResolveHook} */
export async function resolve(specifier, context, next) {
  const { parentURL = "" } = context;
  const url = specifier.startsWith(".") ? new URL(specifier, parentURL) : null;
  if (!url?.href.includes("/server/web/") || existsSync(fileURLToPath(url))) return next(specifier, context);
  return next(url.href.replace("/server/web/", "/protocol/web/"), context);
}
