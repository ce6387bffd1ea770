import { report } from "./errors.js";

/**
 * The state as it is shown: what the server said, and over it what calls under way are expected to make of it.
 *
 * The optimistic updates run again over each new state of the server, in the order of their calls. The call of one
 * carries a mark, which the server puts on the state that the call has made: so update and state change places in one
 * step, whatever else comes before, between or after them, and however late the answer is. (Replicache does it so, by
 * the mutation ids in its pokes; an answer alone is too late, as what it answers for is shown by then.)
 *
 * An update also ends with its call: at once when that fails, and when it has changed nothing here. An answer that comes
 * while the stream is interrupted keeps its update until there is a state that must have it.
 */
export class Overlay {
  snapshot = undefined; // replaced, never changed
  latest = undefined; // what the server said last
  live = false; // each state of the server comes, and before the answers that stand behind it
  #updates = [];
  #expecting; // the update whose call is being made
  #changed;

  /** `changed` is called with each new snapshot. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The server's state has changed, by the calls with these marks if they are ours. */
  accept(latest, marks = []) {
    for (const mark of marks) {
      const entry = this.#updates.find((one) => one.mark === mark);
      if (entry && --entry.calls === 0) this.#drop(entry);
    }
    this.latest = latest;
    this.#run();
  }

  /** The server's state is known anew. */
  replace(latest) {
    this.latest = latest;
    this.settle(true);
  }

  /** An interruption is over: the state has what was answered for meanwhile. */
  settle(changed = this.#updates.some(({ answered }) => answered)) {
    this.#updates = this.#updates.filter(({ answered }) => !answered);
    if (changed) this.#run();
  }

  /** The mark of a call that is made now, if an update is shown for it. */
  mark() {
    if (!this.#expecting) return;
    this.#expecting.calls += 1;
    return this.#expecting.mark;
  }

  /** Show what `update` makes of the state until the promise that `call` gives has ended, or the state is there. */
  expect(update, call) {
    const entry = { update, mark: Math.random().toString(36).slice(2, 12), calls: 0, answered: false };
    this.#updates.push(entry);
    this.#run();
    const outer = this.#expecting;
    let outcome;
    try {
      this.#expecting = entry;
      outcome = Promise.resolve(call());
    } catch (error) {
      this.#remove(entry);
      throw error;
    } finally {
      this.#expecting = outer;
    }
    outcome.then(
      () => this.#answer(entry),
      () => this.#remove(entry),
    );
    return outcome;
  }

  #answer(entry) {
    if (this.live || this.latest === undefined) this.#remove(entry);
    else entry.answered = true;
  }

  #remove(entry) {
    if (!this.#updates.includes(entry)) return;
    this.#drop(entry);
    this.#run();
  }

  #drop(entry) {
    this.#updates = this.#updates.filter((one) => one !== entry);
  }

  #run() {
    const before = this.snapshot;
    this.snapshot = this.#updates.reduce(apply, this.latest);
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
