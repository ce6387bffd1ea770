import { report } from "./errors.js";

const HOLD = 0.05; // seconds that a new state waits for the answer of the call that may have made it
const REJOIN = 1; // seconds that it does after an interruption, when calls have to be sent again

/**
 * The state as it is shown: what the server said, and over it what calls under way are expected to make of it.
 *
 * The optimistic updates run again over each new state of the server, in the order of their calls. One goes when its
 * call has failed, or when the state that its call made is shown. A turn's state comes just before its answer; so while
 * calls are open a new state is held back for a moment, or nobody could tell it from somebody else's, and an update
 * would be seen twice. An answer that comes while the stream is interrupted keeps its update until there is a state
 * that must have it.
 */
export class Overlay {
  snapshot = undefined; // replaced, never changed
  latest = undefined; // what the server said last
  #live = false;
  #base = undefined; // what the server said when it was last shown
  #updates = [];
  #changed;
  #timer;

  /** `changed` is called with each new snapshot. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Whether each state of the server comes, and before the answers that stand behind it. */
  set live(live) {
    this.#live = live;
    if (!live) this.#stop();
  }

  /** The server's state has changed. */
  accept(latest) {
    this.latest = latest;
    if (this.#timer === undefined && !this.#open) this.#show();
    else this.#showIn(HOLD);
  }

  /** The stream goes on after an interruption. `replay` accepts what was missed. */
  resume(replay) {
    if (this.#updates.length) this.#showIn(REJOIN);
    replay();
    if (!this.#open) this.#show();
  }

  /** The server's state is known anew. It is shown at once. */
  replace(latest) {
    this.latest = latest;
    this.#show();
  }

  #showIn(seconds) {
    this.#timer ??= setTimeout(() => this.#show(), seconds * 1000);
  }

  #show() {
    this.#stop();
    this.#base = this.latest;
    this.#updates = this.#updates.filter(({ answered }) => !answered);
    this.#run();
  }

  /** Show what `update` makes of the state until the promise that `call` gives has ended. */
  expect(update, call) {
    const entry = { update, answered: false };
    this.#updates.push(entry);
    this.#run();
    let outcome;
    try {
      outcome = Promise.resolve(call());
    } catch (error) {
      this.#remove(entry);
      throw error;
    }
    outcome.then(
      () => this.#answer(entry),
      () => this.#remove(entry),
    );
    return outcome;
  }

  get #open() {
    return this.#updates.some(({ answered }) => !answered);
  }

  #answer(entry) {
    entry.answered = true;
    if (this.#base === undefined) this.#remove(entry);
    else if (this.#live && (!this.#open || this.latest === this.#base)) this.#show();
  }

  #remove(entry) {
    this.#updates = this.#updates.filter((one) => one !== entry);
    if (this.#live && !this.#open) this.#show();
    else this.#run();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #run() {
    const before = this.snapshot;
    this.snapshot = this.#updates.reduce(apply, this.#base);
    if (this.snapshot !== before) this.#changed(this.snapshot);
  }
}

function apply(state, { update }) {
  if (state === undefined) return state;
  try {
    return update(state);
  } catch (error) {
    report(error);
    return state;
  }
}
