import { LightMoonError } from "./errors.js";

const HANDSHAKE = 10; // seconds until the server must have greeted
const PONG = 10; // seconds at most until a ping must be answered, by anything
const HELLO_ID = 0;
const PING_ID = 1; // numbers: only calls have strings, which the server remembers

/**
 * One WebSocket from its handshake to its end. It tells its owner: `opened(hello)` once, `received(message)` for each
 * message, and in any case `lost(connection, error)` once, where `error` is set if the server refused the handshake.
 */
export class Connection {
  #owner;
  #socket;
  #timer;
  #heartbeat; // seconds
  #quiet = true; // nothing came since the last ping
  #over = false;

  constructor(owner, WebSocket, url, hello) {
    this.#owner = owner;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#request(HELLO_ID, "lm.hello", hello);
    this.#socket.onmessage = ({ data }) => this.#read(data);
    this.#socket.onclose = this.#socket.onerror = () => this.close();
    this.#after(HANDSHAKE, () => this.close());
  }

  send(frame) {
    if (!this.#over) this.#socket.send(frame);
  }

  notify(method, params) {
    this.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  /** Find out now whether anybody is still there: the network changed, or the machine slept. */
  check() {
    if (this.#heartbeat) this.#ping();
  }

  /** The end, whoever wants it. Doesn't wait for the other side, which may be gone. */
  close(error) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // closing a socket that is still connecting is an error to some implementations
    socket.close();
    this.#owner.lost(this, error);
  }

  #request(id, method, params) {
    this.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
  }

  #read(data) {
    this.#quiet = false;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.close(); // not our server, or a broken proxy
    }
    if (message.id === HELLO_ID) this.#greeted(message);
    else if (message.id !== PING_ID) this.#owner.received(message);
  }

  #greeted({ error, result }) {
    if (error) return this.close(LightMoonError.fromRpc(error));
    this.#heartbeat = result.heartbeat ?? 25;
    this.#after(this.#heartbeat, () => this.#ping());
    this.#owner.opened(result);
  }

  #ping() {
    this.#quiet = true;
    this.#request(PING_ID, "lm.ping");
    const patience = Math.min(PONG, this.#heartbeat / 2);
    this.#after(patience, () => {
      if (this.#quiet) this.close();
      else this.#after(this.#heartbeat - patience, () => this.#ping());
    });
  }

  #after(seconds, step) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(step, seconds * 1000);
  }
}
