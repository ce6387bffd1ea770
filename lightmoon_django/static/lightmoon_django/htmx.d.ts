import type { Client } from "./index.js";

/**
 * Make it the extension "lightmoon" of this htmx (version 2 or 4), before that looks at the page: elements with
 * `hx-lm="chat.Room:42"` are fetched anew when the actor's state has changed. Importing the module in a page does it for
 * `window.htmx`.
 */
export declare function register(htmx: object): void;

/**
 * Tell elements with `hx-lm="chat.Room:42"` below `root` of each new state, by the event `lightmoon:refresh`. Importing
 * the module in a page does it for the document. Returns the function that ends it.
 */
export declare function refresh(root?: Document | Element, client?: Client): () => void;
