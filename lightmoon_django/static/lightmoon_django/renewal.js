const EARLY = 30; // seconds before a token ends, or half of its time where that is less
const LONGEST = 2 ** 31 - 1; // milliseconds of a timer

/** When the server is shown another token: in time before the last one ends. */
export class Renewal {
  #renew;
  #timer;

  constructor(renew) {
    this.#renew = renew;
  }

  /** The token is good for that many seconds more; without a number it doesn't end. */
  after(seconds) {
    this.stop();
    if (typeof seconds !== "number") return;
    const delay = Math.max(seconds - EARLY, seconds / 2) * 1000;
    this.#timer = setTimeout(() => this.#renew(), Math.min(delay, LONGEST));
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
