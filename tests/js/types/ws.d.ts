/** Of the package ws, what the tests use: it has no types of its own. */
declare module "ws" {
  export const WebSocket: typeof globalThis.WebSocket;
}
