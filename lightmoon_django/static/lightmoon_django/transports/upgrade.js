import { Backoff } from "../backoff.js";

const LEAST = 60; // seconds between attempts
const SPREAD = { base: 60, cap: 1800 }; // seconds more

/** When to try a better transport, beside the connection there is: soon at first, then less and less often. */
export class Upgrade {
  #attempt;
  #backoff;
  #timer;

  constructor(attempt, random = Math.random) {
    this.#attempt = attempt;
    this.#backoff = new Backoff({ ...SPREAD, random });
  }

  later() {
    this.stop();
    this.#timer = setTimeout(this.#attempt, this.#backoff.next(LEAST) * 1000);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** The best transport is in use. */
  reset() {
    this.stop();
    this.#backoff.reset();
  }
}
