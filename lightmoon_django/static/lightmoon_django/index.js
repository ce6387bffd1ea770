/**
 * LightMoon in the browser: actors of a Django project, called as if they were here.
 *
 * General layout: `page` holds this page's `client`, `actor` makes the proxies. A `client` has one `connection` at a
 * time, a `call` for each request under way and a `stream` for each actor that is followed. The `dialer` makes
 * connections, each over one of the `transports`, which the `ladder` chooses.
 */
export { actor } from "./actor.js";
export { Client } from "./client.js";
export { LightMoonError } from "./errors.js";
export { client } from "./page.js";
export { State } from "./state.js";
