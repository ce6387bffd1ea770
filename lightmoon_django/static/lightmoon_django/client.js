import { Addresses } from "./addresses.js";
import { Backoff } from "./backoff.js";
import { Call } from "./call.js";
import { Dialer } from "./dialer.js";
import { Emitter } from "./emitter.js";
import { report, unavailable } from "./errors.js";
import { outdated } from "./reload.js";
import { Renewal } from "./renewal.js";
import { CallState, State } from "./state.js";
import { Stream } from "./stream.js";
import { Ladder } from "./transports/ladder.js";
import { Upgrade } from "./transports/upgrade.js";
import { onLeave, onWake } from "./wake.js";

const STABLE = 5; // seconds after which a connection counts as a success

/**
 * A client of one server: it connects at first use, comes back by itself, and keeps what is called and followed.
 *
 * Calls made while there is no connection wait for one, `timeout` seconds at most. Calls that were sent when it broke
 * are sent again when the server still has the session, which knows them by their ids; otherwise they reject as
 * "outcome_unknown". Streams go on from their positions on each connection.
 *
 * It uses the first of its transports that opens, and tries a better one later.
 */
export class Client {
  #dialer;
  #timeout;
  #reload; // the page, when it is older than the server
  #state = State.CLOSED;
  #refusal; // why calls fail at once
  #emitter = new Emitter();
  #backoff;
  #connection;
  #session = {}; // token and cursor, which survive connections
  #known = false; // the server had greeted before
  #ladder;
  #probe; // a connection over a better transport, which may replace the one there is
  #upgrading;
  #draining = false; // the server is about to close: nothing new is sent
  #renewal = new Renewal(() => this.#renew());
  #openedAt = 0;
  #retryAfter = 0; // seconds that the server asked for
  #timer;
  #attempt = 0; // what an earlier one prepared doesn't count
  #calls = new Map();
  #streams = new Map(); // those that are followed
  #left = new Map(); // names of those that the session may still follow
  #addresses = new Addresses();
  #prefix = Math.random().toString(36).slice(2, 10);
  #count = 0;
  #page; // while it hears of the page

  /**
   * `url` may be relative to the page. `schema` is the hash that the proxies were generated with, `token` the value of
   * an Authorization header (or a function that gives it, asked anew for each connection and before a token ends),
   * `transports` those to use. `csrf` gives Django's token for POSTs, if not by its cookie. `reload` says that a page which
   * is older than the server is loaded again. `WebSocket` and `fetch` are what to use where there are no global ones.
   */
  constructor({ timeout = 30, backoff = {}, reload = false, ...options } = {}) {
    this.#dialer = new Dialer(options);
    this.#timeout = timeout;
    this.#reload = reload;
    this.backoff = backoff;
    this.#backoff = new Backoff(backoff);
    this.#upgrading = new Upgrade(() => this.#tryUpgrade(), backoff.random);
  }

  get state() {
    return this.#state;
  }

  /** How messages travel: "websocket", "sse" or "poll"; undefined without a connection. */
  get transport() {
    return this.#state === State.OPEN ? this.#connection.Transport.name : undefined;
  }

  /**
   * Hear of "state" (the new one), "recovered" (after a reconnect: whether the server still had the session),
   * "expired" (why the server holds one for nobody any more: the "session", the "token" or the "user" has ended; with a
   * function for tokens it asks for another by itself), "upgrade" (the error) and, for tools, "frame" ("sent" or
   * "received", and what was). Returns the function that ends it.
   */
  on(name, handler) {
    return this.#emitter.on(name, handler);
  }

  /** Connect now. Calls and subscriptions do it by themselves, unless the client was closed. */
  connect() {
    this.#refusal = undefined;
    if (this.#state === State.CLOSED) this.#open();
  }

  /** Disconnect, and stay so until `connect`. Calls that wait for a connection fail; streams are kept. */
  close() {
    this.#stop(unavailable("The client is closed."));
  }

  /** Send a call by its wire name: `call("chat.Room.say", {key: "42", text: "hi"})`. `signal` cancels it. */
  call(method, params, { signal, mark } = {}) {
    return new Promise((resolve, reject) => this.request(method, params, { resolve, reject, signal, mark }));
  }

  // For streams

  /** The stream of an actor, the same one for all. */
  stream(actor, key) {
    return this.#addresses.at(`${actor}:${key}`, () => new Stream(this, actor, key));
  }

  /** Join it now, or as soon as there is a connection. */
  follow(stream) {
    const address = addressOf(stream);
    this.#streams.set(address, stream);
    this.#left.delete(address);
    if (this.#usable) stream.join();
    else this.#wake();
  }

  /** Nobody listens any more. The server hears of it now, or when the session goes on. */
  unfollow(stream) {
    const address = addressOf(stream);
    this.#streams.delete(address);
    this.#left.set(address, { ...stream.names });
    this.#leave(address);
  }

  #leave(address) {
    const names = this.#left.get(address);
    const resolve = () => this.#left.get(address) === names && this.#left.delete(address);
    this.requestNow("lm.unsubscribe", names, { resolve, reject: () => {} });
  }

  /** Like `call`, answered by `resolve` or `reject` before the next frame is read. */
  request(method, params, { resolve, reject, signal, fleeting, mark }) {
    if (this.#refusal) return reject(this.#refusal);
    const settled = ({ id }) => this.#calls.delete(id) && this.#drained();
    const id = `${this.#prefix}-${(++this.#count).toString(36)}`;
    let call;
    try {
      const timeout = this.#timeout;
      call = new Call(id, method, params, { resolve, reject, settled, signal, timeout, fleeting, mark });
    } catch (error) {
      return reject(error);
    }
    if (call.state === CallState.DONE) return;
    this.#calls.set(id, call);
    if (this.#usable) call.send(this.#connection);
    else this.#wake();
  }

  /** Like `request`, on the connection there is and on no other. Without one nothing happens. */
  requestNow(method, params, handlers) {
    if (this.#usable) this.request(method, params, { ...handlers, fleeting: true });
  }

  // For the connection

  opened(connection, { session, recovered = false, expires }) {
    if (connection === this.#probe) this.#adopt(connection);
    this.#session.token = session ?? undefined;
    this.#expiresIn(expires);
    this.#openedAt = Date.now();
    this.#ladder.opened(connection.Transport);
    const [before, known] = [this.#state, this.#known];
    [this.#state, this.#known] = [State.OPEN, true];
    if (!recovered) this.#left.clear();
    for (const address of this.#left.keys()) this.#leave(address);
    const calls = [...this.#calls.values()];
    if (!recovered) for (const call of calls) call.stranded();
    const first = connection.Transport.queues ? [] : calls.filter((call) => this.#isAgain(call));
    for (const call of first) call.send(connection);
    for (const stream of [...this.#streams.values()]) stream.join();
    for (const call of calls) call.send(connection);
    if (this.#ladder.onTop) this.#upgrading.reset();
    else this.#upgrading.later();
    if (before !== State.OPEN) this.#emitter.emit("state", State.OPEN); // what is called there comes after the others
    if (known) this.#emitter.emit("recovered", recovered);
  }

  /** What it did, if it ran, is answered before its stream's state comes; an optimistic update needs to know. */
  #isAgain({ state, lane }) {
    return state === CallState.ADRIFT && this.#streams.get(lane)?.placed;
  }

  renewed(connection, { session, expires }) {
    if (connection !== this.#connection) return;
    this.#session.token = session ?? undefined;
    this.#expiresIn(expires);
  }

  watched(way, frame) {
    this.#emitter.emit("frame", way, frame);
  }

  received(message, connection) {
    if (Array.isArray(message)) return message.forEach((one) => this.received(one, connection)); // answers of a batch
    if (connection === this.#probe) return; // which the server doesn't let in now
    const { id, method, params, ...answer } = message;
    if (method === undefined) this.#calls.get(id)?.answer(answer);
    else if (method === "lm.closing") this.#closing(params);
    else if (method === "lm.expired") this.#expired(params);
    else if (params?.actor) this.#streams.get(`${params.actor}:${params.key}`)?.receive(method, params);
  }

  lost(connection, error) {
    if (connection === this.#probe) return this.#probeFailed(error);
    if (connection !== this.#connection) return;
    const sentAway = this.#draining; // or overloaded: that says nothing of the transport
    this.#connection = undefined;
    this.#draining = false;
    this.#upgrading.stop();
    this.#renewal.stop();
    if (!connection.open && !error && !sentAway) this.#ladder.failed();
    if (this.#openedAt && Date.now() - this.#openedAt > STABLE * 1000) this.#backoff.reset();
    this.#openedAt = 0;
    for (const stream of this.#streams.values()) stream.disconnected();
    for (const call of [...this.#calls.values()]) call.disconnected(this.#session.token !== undefined);
    if (this.#refusal) return;
    if (this.#probe) return this.#enter(State.CONNECTING); // which the server may have greeted already
    if (error?.type === "upgrade_needed") return this.#upgrade(error);
    if (error && !error.retryable) this.#failAll(error);
    this.#wait(error?.retryAfter);
  }

  // Its life

  get #usable() {
    return this.#state === State.OPEN && !this.#draining;
  }

  #wake() {
    if (this.#state === State.CLOSED && !this.#refusal) this.#open();
  }

  async #open() {
    this.#listenToThePage();
    const attempt = ++this.#attempt;
    this.#enter(State.CONNECTING);
    const token = await this.#dialer.token();
    if (this.#attempt !== attempt) return;
    try {
      this.#ladder ??= new Ladder(this.#dialer.options);
      this.#connection = this.#dialer.connect(this, this.#ladder.transport, this.#session, token);
    } catch (error) {
      this.#stop(error); // no attempt can succeed: there is no usable url or transport
      report(error);
    }
  }

  #expiresIn(seconds) {
    if (this.#dialer.renewable) this.#renewal.after(seconds);
  }

  async #renew() {
    const connection = this.#connection;
    const token = await this.#dialer.token();
    if (this.#usable && connection === this.#connection) connection.renew(token);
  }

  /** Another connection may prove by another token who one is; streams go on there. */
  #expired({ reason }) {
    this.#emitter.emit("expired", { reason });
    if (this.#dialer.renewable) this.#connection?.close();
  }

  async #tryUpgrade() {
    const token = await this.#dialer.token();
    if (this.#usable) this.#probe = this.#dialer.connect(this, this.#ladder.best, this.#session, token);
  }

  /** The better transport has opened, and the server has moved the session to it. */
  #adopt(connection) {
    const earlier = this.#connection;
    this.#probe = undefined;
    this.#connection = connection;
    this.#draining = false;
    for (const stream of this.#streams.values()) stream.disconnected();
    for (const call of [...this.#calls.values()]) call.disconnected(true);
    earlier?.close();
  }

  #probeFailed(error) {
    this.#probe = undefined;
    if (this.#connection) this.#upgrading.later();
    else this.#wait(error?.retryAfter);
  }

  #wait(least = 0) {
    const delay = this.#backoff.next(Math.max(least, this.#retryAfter));
    this.#retryAfter = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), delay * 1000);
    this.#enter(State.WAITING);
  }

  #closing({ retry_after: retryAfter }) {
    this.#draining = true;
    this.#retryAfter = retryAfter ?? 0;
    this.#drained();
  }

  /** When the last answer is in, leave a server that is about to close. */
  #drained() {
    if (!this.#draining || [...this.#calls.values()].some((call) => call.state === CallState.SENT)) return;
    this.#connection?.close();
  }

  #upgrade(error) {
    this.#stop(error);
    if (this.#emitter.emit("upgrade", error)) return;
    outdated(error, this.#reload, this.#dialer.options.schema);
  }

  #stop(error) {
    this.#refusal = error;
    this.#attempt += 1;
    this.#page?.abort();
    this.#page = undefined;
    clearTimeout(this.#timer);
    this.#upgrading.stop();
    this.#renewal.stop();
    const probe = this.#probe;
    this.#probe = undefined;
    probe?.close();
    this.#connection?.close(undefined, true);
    this.#session = {};
    this.#known = false;
    this.#failAll(error);
    this.#enter(State.CLOSED);
  }

  #failAll(error) {
    for (const call of [...this.#calls.values()]) call.giveUp(error);
  }

  #enter(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emitter.emit("state", state);
  }

  /** A network that is back, or a page that is seen again, is worth an attempt at once. */
  #listenToThePage() {
    if (this.#page) return;
    this.#page = new AbortController();
    const { signal } = this.#page;
    const look = () => {
      if (this.#state === State.OPEN) this.#connection.check();
      if (this.#state !== State.WAITING) return;
      clearTimeout(this.#timer);
      this.#open();
    };
    onWake(look, signal);
    onLeave(() => this.#connection?.Transport.proves && this.close(), signal); // a WebSocket tells the server itself
  }
}

const addressOf = ({ names: { actor, key } }) => `${actor}:${key}`;
