import { Client } from "./client.js";

/** The client of this page, as `{% lightmoon_js %}` configured it. It connects at first use. */
export const client = new Client(config());

client.on("state", (state) => {
  const detail = { state, transport: client.transport };
  globalThis.document?.dispatchEvent(new CustomEvent("lightmoon:connection", { detail }));
});

function config() {
  const element = globalThis.document?.getElementById("lightmoon-config");
  return element ? JSON.parse(element.textContent) : {};
}
