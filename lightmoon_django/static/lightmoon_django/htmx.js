/**
 * Fragments that Django renders, fetched again by htmx when an actor's state has changed:
 *
 *     <div hx-lm="chat.Room:42" hx-get="/rooms/42/head/" hx-trigger="lightmoon:refresh">…</div>
 *
 * The page's fragment may be older than the first state that is seen, so it is fetched once then. When a fetch fails it
 * is made again. Several changes during one fetch are one more fetch, as htmx does by itself.
 */
import { at } from "./address.js";
import { Backoff } from "./backoff.js";
import { follow } from "./elements.js";
import { report } from "./errors.js";
import { client as page } from "./page.js";

const INITIALIZED = ["htmx:afterProcessNode", "htmx:after:init"];
const SENDING = ["htmx:beforeRequest", "htmx:before:request"];
const FAILURES = ["htmx:sendError", "htmx:responseError", "htmx:timeout", "htmx:error", "htmx:response:error"];

/** Watch everything below `root`. Returns the function that ends it. */
export function refresh(root = document, client = page) {
  const replaced = new Map(); // states that elements were fetched for, for what was put in their place
  return follow(root, "hx-lm", (element, address) => {
    try {
      return new Fragment(element, at(address, client), replaced).leave;
    } catch (error) {
      report(error);
      return () => {};
    }
  });
}

class Fragment {
  #element;
  #signature;
  #asked; // the state that the fragment is fetched for
  #sent; // the one that it had when the latest fetch really left: what htmx queued goes with a replaced element
  #backoff = new Backoff();
  #due = false; // a fetch waits for htmx
  #offs = [];
  #timer;

  constructor(element, room, replaced) {
    this.#element = element;
    this.#signature = ["hx-lm", "hx-get", "hx-post", "id"].map((name) => element.getAttribute(name)).join(" ");
    this.#asked = this.#sent = replaced.get(this.#signature);
    for (const name of FAILURES) this.#hear(name, this.#failed);
    for (const name of SENDING) this.#hear(name, () => (this.#sent = this.#asked));
    for (const name of INITIALIZED) this.#hear(name, this.#initialized);
    this.leave = () => {
      clearTimeout(this.#timer);
      this.#offs.forEach((off) => off());
      replaced.set(this.#signature, this.#sent);
      queueMicrotask(() => replaced.delete(this.#signature));
    };
    this.#offs.push(room.subscribe((state) => this.#show(state)));
  }

  #hear(name, handler) {
    const own = (event) => event.target === this.#element && handler();
    this.#element.addEventListener(name, own);
    this.#offs.push(() => this.#element.removeEventListener(name, own));
  }

  #show(state) {
    if (state === undefined || state === this.#asked) return;
    if (this.#asked !== undefined) this.#backoff.reset();
    this.#asked = state;
    this.#fetch();
  }

  #fetch() {
    clearTimeout(this.#timer);
    this.#due = !isInitialized(this.#element);
    if (this.#due) return;
    this.#element.dispatchEvent(new CustomEvent("lightmoon:refresh", { detail: { state: this.#asked } }));
  }

  /** htmx listens from now on; after a swap that is a little later than the element is there. */
  #initialized = () => {
    if (this.#due) this.#fetch();
  };

  #failed = () => {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), this.#backoff.next(0.5) * 1000);
  };
}

/** Of htmx 4, of htmx 2. */
function isInitialized(element) {
  return Boolean(element._htmx?.initialized || element["htmx-internal-data"]?.initHash);
}

if (globalThis.document) refresh();
