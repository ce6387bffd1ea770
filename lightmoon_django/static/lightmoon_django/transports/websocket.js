const PONG = 10; // seconds at most until a ping must be answered, by anything
const PING_ID = 1; // a number, and not one of the connection's: only calls have strings, which the server remembers
const GOODBYE = 1000; // tells the server that nobody comes back

/**
 * Frames over a WebSocket.
 *
 * A transport tells its `owner`: `up()` once, when frames can be sent; `received(message)` for each message; and
 * `down()` once, unless it was closed. `greeted(hello)` tells it that the server has agreed.
 */
export class WebSocketTransport {
  static name = "websocket";
  static proves = false; // who one is, by a header
  #socket;
  #owner;
  #session;
  #heartbeat; // seconds
  #quiet = true; // nothing came since the last ping
  #timer;

  static usable = ({ WebSocket }) => Boolean(WebSocket);

  constructor({ url, WebSocket, session }, owner) {
    this.#owner = owner;
    const socket = (this.#socket = new WebSocket(url.replace(/^http/, "ws")));
    socket.onopen = () => owner.up();
    socket.onmessage = ({ data }) => this.#read(data);
    socket.onclose = socket.onerror = () => this.#down();
    this.#session = session;
  }

  /** Nothing: `lm.hello` carries it. */
  prove() {}

  send(frame) {
    this.#socket.send(frame);
  }

  /** Nothing waits here. */
  withdraw() {}

  greeted({ heartbeat = 25 }) {
    this.#heartbeat = heartbeat;
    this.#session.cursor = undefined; // it counts messages that come by other transports
    this.#after(heartbeat, () => this.#ping());
  }

  /** Find out now whether anybody is still there: the network changed, or the machine slept. */
  check() {
    if (this.#heartbeat) this.#ping();
  }

  /** The end. Doesn't wait for the other side, which may be gone. `forGood` says that nobody comes back. */
  close(forGood = false) {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // closing a socket that is still connecting is an error to some implementations
    if (forGood) socket.close(GOODBYE);
    else socket.close();
  }

  #read(data) {
    this.#quiet = false;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#down(); // not our server, or a broken proxy
    }
    if (message.id !== PING_ID) this.#owner.received(message);
  }

  #down() {
    this.close();
    this.#owner.down();
  }

  #ping() {
    this.#quiet = true;
    this.send(JSON.stringify({ jsonrpc: "2.0", id: PING_ID, method: "lm.ping" }));
    const patience = Math.min(PONG, this.#heartbeat / 2);
    this.#after(patience, () => {
      if (this.#quiet) this.#down();
      else this.#after(this.#heartbeat - patience, () => this.#ping());
    });
  }

  #after(seconds, step) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(step, seconds * 1000);
  }
}
