/** The HTTP side of the server that the tests play, and clients that speak with it. */
import { Client } from "/lightmoon/index.js";
import { ok, settle } from "./harness.js";

/** The HTTP side of the server that the tests play: requests wait in `open` until they are answered. */
export class Http {
  open = [];
  seen = [];
  refused = new Set(); // paths

  fetch = (url, { method = "GET", body, headers = {}, signal }) => {
    const { pathname, searchParams } = new URL(url);
    const path = pathname.split("/").at(-1);
    this.seen.push(`${method} ${path}`);
    if (this.refused.has(path)) return Promise.reject(new TypeError("network"));
    return new Promise((resolve, reject) => {
      const request = { path, body: body && JSON.parse(body), headers, query: Object.fromEntries(searchParams) };
      request.respond = (value, given = {}, status = 200) => {
        this.open.splice(this.open.indexOf(request), 1);
        resolve(new Response(status === 204 ? null : value, { status, headers: given }));
      };
      request.answer = (result, given) =>
        request.respond(JSON.stringify({ jsonrpc: "2.0", id: request.body.id, result }), given);
      signal?.addEventListener("abort", () => {
        this.open = this.open.filter((one) => one !== request);
        reject(signal.reason);
      });
      this.open.push(request);
    });
  };

  last(path) {
    const found = this.open.filter((request) => request.path === path).at(-1);
    ok(found, `No request to ${path} is open. There were: ${this.seen}`);
    return found;
  }

  async greet(hello = {}) {
    await settle();
    this.last("rpc").answer({ session: "t/1:x", heartbeat: 25, recovered: false, ...hello });
    await settle();
  }

  /** Answer the event stream's request with a body that the test writes. */
  stream() {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    this.last("sse").respond(readable);
    const write = (text) => writer.write(new TextEncoder().encode(text)).then(settle).then(settle);
    return {
      write,
      event: (id, message) => write(`id: ${id}\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`),
      end: () => writer.close().then(settle),
    };
  }
}

export function make(server, http, options = {}) {
  const { fetch } = http;
  return new Client({
    url: "http://test/lightmoon/ws", WebSocket: server.WebSocket, fetch, backoff: { random: () => 0.5 }, ...options,
  });
}

/** A client whose WebSocket fails twice, so that it speaks over an event stream. */
export async function fallen(server, clock, http) {
  const client = make(server, http);
  client.connect();
  await settle();
  for (const _ of [1, 2]) {
    server.connection.drop();
    await clock.pass(2);
  }
  return client;
}
