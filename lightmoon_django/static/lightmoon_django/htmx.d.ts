import type { Client } from "./index.js";

/**
 * Tell elements with `hx-lm="chat.Room:42"` below `root` of each new state, by the event `lightmoon:refresh`. Importing
 * the module in a page does it for the document. Returns the function that ends it.
 */
export declare function refresh(root?: Document | Element, client?: Client): () => void;
