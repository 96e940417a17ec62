/** Lets node find the client where pages do: `node --import ./support/register.js`. */
import { register } from "node:module";

register("./resolve.js", import.meta.url);
