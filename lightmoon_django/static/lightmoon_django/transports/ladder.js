import { PollTransport } from "./poll.js";
import { EventStreamTransport } from "./sse.js";
import { WebSocketTransport } from "./websocket.js";

const ALL = [WebSocketTransport, EventStreamTransport, PollTransport];
const ATTEMPTS = { websocket: 2 }; // that must fail before the next transport is tried; 1 for the others

/** The transports from the best one down, and which is next: one that doesn't open is followed by the one below it. */
export class Ladder {
  #steps;
  #at = 0;
  #failures = 0;

  /** Throws a `TypeError` when none of the named transports can be used here. */
  constructor({ transports, ...environment }) {
    this.#steps = ALL.filter((one) => transports.includes(one.name) && one.usable(environment));
    if (!this.#steps.length) throw new TypeError(`No transport of ${transports.join(", ")} can be used here.`);
  }

  get transport() {
    return this.#steps[this.#at];
  }

  get best() {
    return this.#steps[0];
  }

  get onTop() {
    return this.#at === 0;
  }

  /** The transport has opened. It is the next one too. */
  opened(transport) {
    this.#at = this.#steps.indexOf(transport);
    this.#failures = 0;
  }

  /** The transport did not open. Below the last one it begins at the top again. */
  failed() {
    if (++this.#failures < (ATTEMPTS[this.transport.name] ?? 1)) return;
    this.#at = (this.#at + 1) % this.#steps.length;
    this.#failures = 0;
  }
}
