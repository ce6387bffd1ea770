import { Connection } from "./connection.js";
import { report } from "./errors.js";

const CLIENT = "lightmoon-js/0.1";

/** Makes connections: where to, by which means, and with what to say first. */
export class Dialer {
  #options;

  /** See `Client` for what the options mean. */
  constructor({
    url,
    schema,
    token,
    protocol = 1,
    transports = ["websocket", "sse", "poll"],
    csrf,
    WebSocket = globalThis.WebSocket,
    fetch = globalThis.fetch,
  }) {
    this.#options = { url, schema, token, protocol, transports, csrf, WebSocket, fetch };
  }

  get options() {
    return this.#options;
  }

  /** What proves who one is, asked for anew for each connection. */
  async token() {
    const { token } = this.#options;
    try {
      return typeof token === "function" ? await token() : token;
    } catch (error) {
      report(error); // the server says what may be done without one
    }
  }

  /** Whether there may be another token when one has ended. */
  get renewable() {
    return typeof this.#options.token === "function";
  }

  /** Throws where no attempt can succeed. */
  connect(owner, Transport, session, token) {
    const { schema, protocol, ...options } = this.#options;
    const hello = { protocol, client: CLIENT, schema, session: session.token };
    if (!Transport.proves) hello.token = token;
    return new Connection(owner, Transport, { ...options, token, url: this.#url(), session }, hello);
  }

  #url() {
    const { url } = this.#options;
    if (!url) throw new TypeError("The client needs a url. Is {% lightmoon_js %} in the page's head?");
    return new URL(url, globalThis.location?.href).href;
  }
}
