/** What one client does and sees, step by step, whatever transport it uses. */
import { Client, actor } from "/static/lightmoon_django/index.js";
import { lateness } from "./late.js";

const messages = { add: ["n"], burst: ["events"], refuse: [], bug: [], long_text: ["size"], slow: ["seconds"], sleep: [] };
const Clicks = actor("server.Clicks", messages);

export class Scenario {
  log = [];
  states = []; // of the connection
  counts = { acknowledged: 0, unknown: 0 };
  #client;
  #clicks;

  /** `transports` is the name of one, or a list. `late` is what the network keeps back: "answers" or "frames". */
  constructor(transports, key, url = "/lightmoon/ws", late = undefined) {
    const options = { url, transports: [transports].flat(), backoff: { base: 0.2, cap: 0.2 } };
    this.#client = new Client({ ...options, ...lateness(late) });
    this.#client.on("recovered", (recovered) => this.log.push(["recovered", recovered]));
    this.#client.on("state", (state) => this.states.push(state));
    this.#clicks = Clicks(key, this.#client);
  }

  get transport() {
    return this.#client.transport;
  }

  /** Events, state, results and errors in the order in which they are seen. */
  async calls() {
    const clicks = this.#clicks;
    clicks.on("tick", ({ number }, { seq }) => this.log.push(["tick", number, seq]));
    clicks.on("reset", ({ reason, state }) => this.log.push(["reset", reason, state]));
    await new Promise((resolve) => clicks.subscribe((state) => state && resolve()));
    const first = clicks.state;
    clicks.subscribe((state) => state === first || this.log.push(["state", state]));
    await this.#call("add", 5);
    await this.#call("burst", 3);
    for (const name of ["refuse", "add"]) await this.#call(name, ...(name === "add" ? ["many"] : []));
    await this.#call("long_text", 300_000);
    await this.#call("add", "x".repeat(150_000));
    const unknown = await this.#client.call("server.Clicks.hidden", { key: clicks.key }).catch(summary);
    this.log.push(["hidden", unknown]);
    const many = await Promise.all(Array.from({ length: 20 }, () => clicks.add(1)));
    this.log.push(["many", many]);
    const abort = new AbortController();
    const sleeping = clicks.sleep({ signal: abort.signal }).catch(summary);
    setTimeout(() => abort.abort(), 100);
    this.log.push(["cancelled", await sleeping]);
    await this.#call("add", 1);
  }

  /** Add one again and again until `rest`, and count how the calls end. */
  async work() {
    this.working = true;
    while (this.working) {
      const error = await this.#clicks.add(1).then(() => undefined, (found) => found);
      if (!error) this.counts.acknowledged += 1;
      else if (error.type === "outcome_unknown") this.counts.unknown += 1;
      else if (!error.retryable) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Stop working; gives the count that the actor has and the one that is shown. */
  async rest() {
    this.working = false;
    return [await this.#clicks.add(0), this.#clicks.state.count];
  }

  /** A call that is under way until `landed`. */
  depart() {
    this.flight = this.#call("slow", 1.5);
  }

  async landed() {
    await this.flight;
    await this.#call("add", 1);
  }

  /** So many calls at once, each with so much text where a number is wanted. */
  async heave(times, size) {
    const calls = Array.from({ length: times }, () => this.#clicks.add("x".repeat(size)).catch(({ type }) => type));
    this.log.push(["heaved", await Promise.all(calls)]);
  }

  /** Calls at once of which some can't be read: a text that ends within a character, and one nested too deeply. */
  async garble() {
    const deep = Array.from({ length: 3000 }).reduce((inner) => [inner], []);
    const calls = [1, "\u{1f600}".slice(0, 1), deep, 2].map((n) => this.#clicks.add(n).catch(({ type }) => type));
    this.log.push(["garbled", await Promise.all(calls)]);
  }

  /** Add so many times one, optimistically, and keep each count that is shown. */
  hurry(times) {
    const clicks = this.#clicks;
    const more = (state) => ({ ...state, count: state.count + 1 });
    clicks.subscribe(({ count }) => this.log.push(["shown", count]));
    return Promise.all(Array.from({ length: times }, () => clicks.optimistic(more, () => clicks.add(1))));
  }

  /** The same one after the other, while somebody else adds a hundred each time, until all is seen. */
  async hurryAmong(times, other, until) {
    const clicks = this.#clicks;
    const more = (state) => ({ ...state, count: state.count + 1 });
    await new Promise((resolve) => clicks.subscribe((state) => state && resolve(this.log.push(["shown", state.count]))));
    for (let i = 0; i < times; i += 1) {
      const own = clicks.optimistic(more, () => clicks.add(1));
      await Promise.all([own, other.#clicks.add(100)]);
    }
    while (clicks.state.count < until) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** An optimistic call that is under way until `landed`. */
  hurryOff() {
    const clicks = this.#clicks;
    clicks.subscribe(({ count }) => this.log.push(["shown", count]));
    this.flight = clicks.optimistic((state) => ({ ...state, count: state.count + 1 }), () => clicks.slow(1.5));
  }

  /** Until so many events were seen, or as many resets. */
  seen(ticks, resets) {
    const count = (kind) => this.log.filter(([found]) => found === kind).length;
    return count("tick") >= ticks && count("reset") >= resets;
  }

  close() {
    this.#client.close();
  }

  async #call(name, ...args) {
    this.log.push([name, await this.#clicks[name](...args).catch(summary)]);
  }
}

const summary = ({ code, type, message, retryable, data, path }) => ({ code, type, message, retryable, data, path });
