import type { Client } from "./index.js";

/**
 * Tell the panel at `lightmoon/devtools` what a client does. Importing the module in a page watches the page's client.
 * Returns the function that ends it.
 */
export declare function watch(client?: Client, channel?: BroadcastChannel): () => void;
