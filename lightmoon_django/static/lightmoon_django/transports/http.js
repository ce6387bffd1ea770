import { LightMoonError, forbidden, overloaded } from "../errors.js";
import { Upstream } from "./upstream.js";

const PATIENCE = 10; // seconds at most beyond the heartbeat that the server may be silent

/**
 * What transports over HTTP have in common: frames go up by POST, and messages come down by what a subclass's
 * `listen()` asks for. See `websocket.js` for what a transport tells its owner.
 *
 * An answer says behind which message it stands, and is held back until that has come: what a call told is seen before
 * the call returns, as on a WebSocket.
 */
export class HttpTransport {
  static proves = true; // who one is, by a header
  static queues = true; // what is sent to an actor waits for the answers before it
  #options;
  #owner;
  #upstream = new Upstream((body) => this.#post(body));
  #aborter = new AbortController();
  #held = []; // answers that came before the messages they follow on
  #greeting; // the answer to lm.hello, until messages can come
  #leaving = false; // the server closes: no more messages come, but answers to what it was asked
  #timer;
  #heardAt = Infinity; // nothing is expected yet
  heartbeat = 25; // seconds

  static usable = ({ fetch }) => Boolean(fetch);

  /** `session` holds the token and the cursor, which survive this transport. */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
    queueMicrotask(() => this.over || owner.up());
  }

  get session() {
    return this.#options.session;
  }

  get over() {
    return this.#aborter.signal.aborted;
  }

  /** From now on requests carry that token. */
  prove(token) {
    this.#options.token = token;
  }

  send(frame, lane) {
    this.#upstream.send(frame, lane);
  }

  /** Whether that frame was not sent yet, and is sent no more. */
  withdraw(frame, lane) {
    return this.#upstream.withdraw(frame, lane);
  }

  greeted({ limits }) {
    this.#upstream.limit = limits?.request_bytes ?? Infinity;
  }

  /** A broken line is noticed by its silence, which timers don't count while the machine sleeps. */
  check() {
    if (Date.now() - this.#heardAt > this.#silence * 1000) this.#down();
  }

  close(forGood = false) {
    clearTimeout(this.#timer);
    if (forGood && this.session.token) this.#sayGoodbye();
    this.#aborter.abort();
  }

  // For subclasses

  /** GET one of the session's addresses. */
  async get(name, headers = {}) {
    const { token, cursor } = this.session;
    const query = new URLSearchParams({ session: token, ...(cursor === undefined ? {} : { cursor }) });
    const response = await this.#fetch(`${this.#address(name)}?${query}`, { headers, cache: "no-store" });
    if (!response.ok) throw refused(response) ?? new Error(`${name}: HTTP ${response.status}`);
    return response;
  }

  /** Messages can come now. */
  listening() {
    const greeting = this.#greeting;
    this.#greeting = undefined;
    if (greeting) this.#owner.received(greeting);
  }

  /** Something came. Without anything for too long the line is dead. */
  heard() {
    clearTimeout(this.#timer);
    this.#heardAt = Date.now();
    if (!this.over) this.#timer = setTimeout(() => this.#down(), this.#silence * 1000);
  }

  /** Seconds. */
  get #silence() {
    return this.heartbeat + Math.min(PATIENCE, this.heartbeat / 2);
  }

  /** Messages came, up to that cursor. */
  received(messages, cursor) {
    for (const message of messages) this.over || this.#owner.received(message);
    this.session.cursor = cursor;
    const has = (name) => messages.some(({ method }) => method === name);
    this.#leaving ||= has("lm.closing");
    const dropped = this.#leaving || has("lm.reset"); // so that their numbers may never come
    this.#release(dropped ? Infinity : Number(cursor));
  }

  #release(until) {
    while (this.#held.length && this.#held[0].after <= until) this.#answer(this.#held.shift().answer);
  }

  async #begin(hello) {
    const { session, heartbeat, recovered, cursor } = hello.result;
    if (!session) return this.#down(); // a server without streams, as under WSGI
    this.heartbeat = heartbeat ?? this.heartbeat;
    this.session.token = session;
    this.session.cursor = recovered ? (this.session.cursor ?? cursor) : "0";
    this.#greeting = hello;
    this.heard();
    let refusal; // else the line broke; nothing more is known
    try {
      await this.listen();
    } catch (error) {
      if (error instanceof LightMoonError) refusal = error;
    }
    if (!this.#leaving) this.#down(refusal);
  }

  #down(error) {
    if (this.over) return;
    this.#release(Infinity);
    this.close();
    this.#owner.down(error);
  }

  /** The session ends, also while the page goes. */
  #sayGoodbye() {
    const headers = { "LightMoon-Session": this.session.token, ...this.#csrf() };
    this.#fetch(this.#address("rpc"), { method: "DELETE", headers, keepalive: true, signal: undefined }).catch(() => {});
  }

  /** Whether it was answered. */
  async #post(body) {
    try {
      const headers = { "Content-Type": "application/json", ...this.#csrf() };
      if (this.#greeting || this.#owner.open) headers["LightMoon-Session"] = this.session.token;
      const response = await this.#fetch(this.#address("rpc"), { method: "POST", body, headers });
      if (response.status === 413) return this.#tooLarge(body);
      const answer = response.status === 204 ? undefined : await response.json();
      if (this.over) return false;
      if (answer?.id === null && body.startsWith("[")) return "alone"; // the server can't read one of them
      if (!response.ok) this.#down(refused(response, this.#owner.open ? undefined : answer.detail));
      else if (answer) this.#hold(answer, response.headers.get("LightMoon-Cursor"));
      return response.ok;
    } catch {
      this.#down();
      return false;
    }
  }

  /** A proxy on the way reads less than the server: a batch may pass frame by frame, and one frame doesn't. */
  #tooLarge(body) {
    if (body.startsWith("[")) return "alone";
    const error = { code: 4013, message: "The request is too large for a proxy on the way.", data: { type: "too_large" } };
    this.over || this.#owner.received({ id: JSON.parse(body).id, error });
    return true;
  }

  #hold(answer, after) {
    const { cursor } = this.session;
    const behind = this.#leaving || after === null || cursor === undefined || Number(after) <= Number(cursor);
    if (behind && !this.#held.length) this.#answer(answer);
    else this.#held.push({ answer, after: Number(after) });
  }

  #answer(answer) {
    for (const one of [answer].flat()) {
      if (one.result && !this.#owner.open && !this.#greeting) this.#begin(one);
      else this.#owner.received(one);
    }
  }

  async #fetch(url, { headers, ...more }) {
    const { fetch, token } = this.#options;
    const proof = token === undefined ? {} : { Authorization: token };
    return fetch(url, { signal: this.#aborter.signal, ...more, headers: { ...headers, ...proof } });
  }

  /** Django's token, which POSTs need where a cookie says who one is. */
  #csrf() {
    const token = (this.#options.csrf ?? csrfCookie)();
    return token ? { "X-CSRFToken": token } : {};
  }

  #address(name) {
    return new URL(name, this.#options.url.replace(/^ws/, "http")).href;
  }
}

/** Why the server didn't even look: too much came from here; or it lets nobody in who shows this, and says so. */
function refused({ status, headers }, detail) {
  if (status === 429) return overloaded(Number(headers.get("Retry-After")) || 1);
  if ((status === 401 || status === 403) && detail) return forbidden(detail);
}

/** Where Django keeps the token, unless the project says otherwise. */
function csrfCookie() {
  return globalThis.document?.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];
}
