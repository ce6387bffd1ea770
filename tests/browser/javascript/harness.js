/** A small test kit that runs in a browser and in Node: named tests, a clock that tests own, a server that they play. */

export const tests = [];
const realTimeout = globalThis.setTimeout;

export function test(name, run) {
  tests.push({ name, run });
}

/** Run all; gives a list of `{name, error}` with `error` null for those that passed. */
export async function runAll() {
  const results = [];
  for (const { name, run } of tests) {
    const clock = new Clock();
    try {
      await run(new Server(), clock);
      results.push({ name, error: null });
    } catch (error) {
      results.push({ name, error: String(error?.stack ?? error) });
    } finally {
      clock.restore();
    }
  }
  return results;
}

/** Let everything happen that needs no time. */
export const settle = () => new Promise((resolve) => realTimeout(resolve, 0));

export function equal(found, wanted, what = "") {
  const [left, right] = [show(found), show(wanted)];
  if (left !== right) throw new Error(`${what} is ${left}, not ${right}`);
}

export function ok(found, what) {
  if (!found) throw new Error(what);
}

/** The error that a promise rejects with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("It did not fail.");
}

/** How a promise ended so far. */
export function watch(promise) {
  const seen = { state: "pending" };
  promise.then(
    (value) => Object.assign(seen, { state: "resolved", value }),
    (error) => Object.assign(seen, { state: "rejected", error }),
  );
  return seen;
}

const show = (value) => JSON.stringify(value, (_, item) => (item === undefined ? "<undefined>" : item));

class Clock {
  #now = 1e12;
  #timers = new Map();
  #ids = 0;
  #real = [globalThis.setTimeout, globalThis.clearTimeout, Date.now];

  constructor() {
    globalThis.setTimeout = (step, delay = 0) => {
      this.#timers.set(++this.#ids, { at: this.#now + delay, step });
      return this.#ids;
    };
    globalThis.clearTimeout = (id) => this.#timers.delete(id);
    Date.now = () => this.#now;
  }

  restore() {
    [globalThis.setTimeout, globalThis.clearTimeout, Date.now] = this.#real;
  }

  /** Seconds until each timer, the next first. */
  get pending() {
    return [...this.#timers.values()].map(({ at }) => (at - this.#now) / 1000).sort((a, b) => a - b);
  }

  /** The wall clock goes on, timers don't: the machine sleeps. */
  sleep(seconds) {
    this.#now += seconds * 1000;
    for (const timer of this.#timers.values()) timer.at += seconds * 1000;
  }

  async pass(seconds) {
    const end = this.#now + seconds * 1000;
    await settle();
    for (let next; (next = this.#next(end)); ) {
      this.#timers.delete(next[0]);
      this.#now = next[1].at;
      next[1].step();
      await settle();
    }
    this.#now = end;
  }

  #next(end) {
    return [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
  }
}

/** The other side of every socket: `connection` is the latest one. */
class Server {
  constructor() {
    const all = (this.connections = []);
    this.WebSocket = class {
      constructor(url) {
        this.url = url;
        all.push(new Connection(this));
      }
    };
  }

  get connection() {
    return this.connections.at(-1);
  }

  /** Accept the latest socket and greet. */
  async greet(hello = {}) {
    await settle();
    this.connection.open();
    this.connection.answer("lm.hello", { protocol: 1, session: "s", schema: "x", heartbeat: 25, ...hello });
    await settle();
  }
}

class Connection {
  received = [];
  closed = false;

  constructor(socket) {
    this.socket = socket;
    socket.send = (frame) => this.received.push(JSON.parse(frame));
    socket.close = () => (this.closed = true);
  }

  open() {
    this.socket.onopen();
  }

  send(message) {
    this.socket.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify({ jsonrpc: "2.0", ...message }) });
  }

  notify(method, params) {
    this.send({ method, params });
  }

  /** All requests and notifications of a method. */
  all(method) {
    return this.received.filter((message) => message.method === method);
  }

  /** The latest message of a method. */
  last(method) {
    const found = this.all(method).at(-1);
    ok(found, `No ${method} came. These did: ${show(this.received.map((message) => message.method))}`);
    return found;
  }

  answer(method, result = null) {
    this.send({ id: this.last(method).id, result });
  }

  refuse(method, error) {
    this.send({ id: this.last(method).id, error });
  }

  drop() {
    this.closed = true;
    this.socket.onclose?.({ code: 1006 });
  }
}
