/**
 * Fragments that Django renders, fetched again by htmx when an actor's state has changed. This is the htmx extension
 * "lightmoon", of version 2 (where an element or one around it asks for it by name) and 4:
 *
 *     <div hx-ext="lightmoon" hx-lm="chat.Room:42" hx-get="/rooms/42/head/">…</div>
 *
 * The page's fragment may be older than the first state that is seen, so it is fetched once then. When a fetch fails it
 * is made again. Changes in quick succession are one more fetch, and so are those during one: an actor that changes all
 * the time has each page fetch four times a second at most.
 *
 * It tells an element by the event `lightmoon:refresh`. As an extension it only sees to it that htmx listens for that;
 * where it can't be registered `hx-trigger="lightmoon:refresh"` does the same.
 */
import { at } from "./address.js";
import { Backoff } from "./backoff.js";
import { follow } from "./elements.js";
import { report } from "./errors.js";
import { client as page } from "./page.js";

const REFRESH = "lightmoon:refresh";
const PAUSE = 0.25; // seconds at least from one fetch of an element to the next that a change leads to
const INITIALIZED = ["htmx:afterProcessNode", "htmx:after:init"];
const SENDING = ["htmx:beforeRequest", "htmx:before:request"];
const FAILURES = ["htmx:sendError", "htmx:responseError", "htmx:timeout", "htmx:error", "htmx:response:error"];

const extension = {
  // of htmx 2
  getSelectors: () => ["[hx-lm]"],
  onEvent: (name, { detail }) => {
    if (name === "htmx:beforeProcessNode") listen(detail.elt);
    return true;
  },
  // of htmx 4
  htmx_before_init: (element) => listen(element),
};

/** Make it an extension of this htmx: of the page's global one it is by itself. Before htmx looks at the page. */
export function register(htmx) {
  if (htmx.registerExtension) htmx.registerExtension("lightmoon", { htmx_before_init: extension.htmx_before_init });
  else htmx.defineExtension("lightmoon", extension);
}

/** htmx is about to read the element's attributes. */
function listen(element) {
  if (!element.hasAttribute?.("hx-lm")) return;
  const given = element.getAttribute("hx-trigger");
  if (!given?.includes(REFRESH)) element.setAttribute("hx-trigger", given ? `${given}, ${REFRESH}` : REFRESH);
}

/** Watch everything below `root`. Returns the function that ends it. */
export function refresh(root = document, client = page) {
  const replaced = new Map(); // what elements were fetched for, and when, for what was put in their place
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
  #next; // when the next one may
  #backoff = new Backoff();
  #due = false; // a fetch waits for htmx
  #offs = [];
  #timer;

  constructor(element, room, replaced) {
    this.#element = element;
    this.#signature = ["hx-lm", "hx-get", "hx-post", "id"].map((name) => element.getAttribute(name)).join(" ");
    const { sent, next = 0 } = replaced.get(this.#signature) ?? {};
    this.#asked = this.#sent = sent;
    this.#next = next;
    for (const name of FAILURES) this.#hear(name, this.#failed);
    for (const name of SENDING) this.#hear(name, () => (this.#sent = this.#asked));
    for (const name of INITIALIZED) this.#hear(name, this.#initialized);
    this.leave = () => {
      clearTimeout(this.#timer);
      this.#offs.forEach((off) => off());
      replaced.set(this.#signature, { sent: this.#sent, next: this.#next });
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
    this.#fetchIn(this.#next - performance.now());
  }

  #fetchIn(ms) {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(() => this.#fetch(), ms);
    else this.#fetch();
  }

  #fetch() {
    clearTimeout(this.#timer);
    this.#due = !isInitialized(this.#element);
    if (this.#due) return;
    this.#next = performance.now() + PAUSE * 1000;
    this.#element.dispatchEvent(new CustomEvent(REFRESH, { detail: { state: this.#asked } }));
  }

  /** htmx listens from now on; after a swap that is a little later than the element is there. */
  #initialized = () => {
    if (this.#due) this.#fetch();
  };

  #failed = () => this.#fetchIn(this.#backoff.next(0.5) * 1000);
}

/** Of htmx 4, of htmx 2. */
function isInitialized(element) {
  return Boolean(element._htmx?.initialized || element["htmx-internal-data"]?.initHash);
}

let registered = false;

function registerGlobal() {
  if (registered || !globalThis.htmx) return;
  registered = true;
  register(globalThis.htmx);
}

if (globalThis.document) {
  registerGlobal();
  document.addEventListener("DOMContentLoaded", registerGlobal); // for one that is loaded as late as modules are
  refresh();
}
