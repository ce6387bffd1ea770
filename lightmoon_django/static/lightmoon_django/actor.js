import { Addresses } from "./addresses.js";
import { client as page } from "./page.js";

/**
 * One actor, by its address. Costs nothing until it is used. Equal addresses are the same object while it is in use.
 *
 * Messages of the actor are its methods. `subscribe` and `getSnapshot` are bound, as React's useSyncExternalStore wants
 * them; as Svelte's stores do, `subscribe` calls its listener at once, and then with each new state.
 */
class Actor {
  #client;
  #stream;

  constructor(client, name, key) {
    this.#client = client;
    this.#stream = client.stream(name, key);
    this.key = key;
    this.subscribe = (listener) => this.#stream.watch(listener);
    this.getSnapshot = () => this.#stream.snapshot;
  }

  /** The fields that the actor shows, undefined until they are there. Kept up to date while anybody listens. */
  get state() {
    return this.#stream.snapshot;
  }

  /**
   * Who follows the actor, where its class tells: `{users, count}` with users by key, each `{info, connections}`, and
   * numbers. Users are undefined while there is a crowd. Kept up to date while anybody listens.
   */
  get presence() {
    return this.#stream.presence;
  }

  /**
   * What others who follow the actor are shown of this connection, as the `meta` of it: `room.present({ typing: true })`.
   * It replaces what was said before, and counts while anybody here listens. Throws for what JSON can't carry.
   */
  present(meta) {
    this.#stream.present(meta);
  }

  /**
   * Hear of an event by its data; of "presence" when somebody came or went (`{joins, leaves, users, count}`); of "reset"
   * when events may have been missed; of "error" when the server says no.
   */
  on(name, handler) {
    return this.#stream.on(name, handler);
  }

  /**
   * Make a call, and show what `update` makes of the state until the one is there that the call has made:
   * `room.optimistic((state) => ({ ...state, topic }), () => room.rename(topic))`.
   *
   * `update` gives a new object and changes nothing. It runs again on each state of the server meanwhile. When the call
   * fails, it is as if it had never run. The call is one of this actor's, made at once and not after an `await`: others
   * can't be told in the states that come, and an update for them stays until they have ended. Gives what `call` gives.
   */
  optimistic(update, call) {
    return this.#stream.expect(update, call);
  }

  toJSON() {
    return this.key;
  }

  static send(actor, method, names, args) {
    const { params, signal } = named(names, args, method);
    const mark = actor.#stream.mark();
    return actor.#client.call(method, { key: actor.key, ...params }, { signal, mark });
  }
}

/** The proxies of one actor class: `actor("chat.Room", {say: ["text"]})("42").say("hi", { signal })`. */
export function actor(name, messages) {
  const kind = class extends Actor {};
  for (const [message, names] of Object.entries(messages)) {
    const value = function (...args) {
      return Actor.send(this, `${name}.${message}`, names, args);
    };
    Object.defineProperty(kind.prototype, message, { value, configurable: true, writable: true });
  }
  const known = new WeakMap();
  return (key, client = page) => {
    if (!known.has(client)) known.set(client, new Addresses());
    return known.get(client).at(String(key), () => new kind(client, name, String(key)));
  };
}

/** Positional arguments by name. Options may follow the last argument. */
function named(names, args, method) {
  let signal;
  const last = args.at(-1);
  if (args.length === names.length + 1 || last?.signal instanceof AbortSignal) {
    if (last !== undefined && typeof last !== "object") throw new TypeError(`${method} takes (${names.join(", ")}).`);
    signal = args.pop()?.signal;
  }
  if (args.length > names.length) throw new TypeError(`${method} takes (${names.join(", ")}).`);
  return { params: Object.fromEntries(args.map((value, index) => [names[index], value])), signal };
}
