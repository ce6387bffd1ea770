/**
 * Delays between attempts: exponential with full jitter, so that clients which lost the same server come back spread
 * over the whole delay and not all at once.
 */
export class Backoff {
  #attempts = 0;

  /** `base` and `cap` are seconds; `random` gives numbers from 0 to below 1. */
  constructor({ base = 1, cap = 30, random = Math.random } = {}) {
    Object.assign(this, { base, cap, random });
  }

  /** Seconds to wait before the next attempt, at least `least` and then spread anew. */
  next(least = 0) {
    const ceiling = Math.min(this.cap, this.base * 2 ** Math.min(this.#attempts++, 30));
    return least + this.random() * Math.max(ceiling, least / 2);
  }

  /** An attempt succeeded for good. */
  reset() {
    this.#attempts = 0;
  }
}
