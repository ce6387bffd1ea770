import { LightMoonError } from "./errors.js";

const HANDSHAKE = 10; // seconds until the server must have greeted
const HELLO_ID = 0; // numbers: only calls have strings, which the server remembers
const RENEWAL_ID = 2;

/**
 * One connection from its handshake to its end, over one transport. It tells its owner: `opened(connection, hello)`
 * once, `received(message, connection)` for each message, `renewed(connection, hello)` when it took another token, and
 * in any case `lost(connection, error)` once, where `error` is set if the server refused the handshake or said when to
 * come back.
 */
export class Connection {
  #owner;
  #transport;
  #hello;
  #timer;
  #over = false;
  open = false; // the server has greeted
  limit; // bytes of a frame

  constructor(owner, Transport, options, hello) {
    this.#owner = owner;
    this.#hello = hello;
    this.Transport = Transport;
    const up = () => this.#request(HELLO_ID, "lm.hello", hello);
    const received = (message) => this.#read(message);
    const connection = this;
    this.#transport = new Transport(options, {
      up,
      received,
      down: (error) => this.close(error),
      get open() {
        return connection.open;
      },
    });
    this.#timer = setTimeout(() => this.close(), HANDSHAKE * 1000);
  }

  /** Frames of one lane arrive in order. */
  send(frame, lane) {
    if (this.#over) return;
    this.#owner.watched?.("sent", frame);
    this.#transport.send(frame, lane);
  }

  /** Whether that frame was not sent yet, and is sent no more. */
  withdraw(frame, lane) {
    return this.#transport.withdraw(frame, lane);
  }

  notify(method, params) {
    this.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  /** Show who one is by another token, before the last one ends. */
  renew(token) {
    this.#transport.prove(token);
    this.#request(RENEWAL_ID, "lm.hello", {
      ...this.#hello,
      session: undefined,
      token: this.Transport.proves ? undefined : token,
    });
  }

  /** Find out now whether anybody is still there: the network changed, or the machine slept. */
  check() {
    this.#transport.check();
  }

  /** The end, whoever wants it. `forGood` says that the session is over too. */
  close(error, forGood = false) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#transport.close(forGood);
    this.#owner.lost(this, error);
  }

  #request(id, method, params) {
    this.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
  }

  #read(message) {
    if (this.#over) return;
    this.#owner.watched?.("received", message);
    if (message.id === HELLO_ID) this.#greeted(message);
    else if (message.id === RENEWAL_ID) this.#renewed(message);
    else this.#owner.received(message, this);
  }

  /** One that is refused is no worse than the one that ends: the next connection asks for another. */
  #renewed({ error, result }) {
    if (error) this.close();
    else this.#owner.renewed(this, result);
  }

  #greeted({ error, result }) {
    if (error) return this.close(LightMoonError.fromRpc(error));
    clearTimeout(this.#timer);
    this.open = true;
    this.limit = result.limits?.request_bytes;
    this.#transport.greeted(result);
    this.#owner.opened(this, result);
  }
}
