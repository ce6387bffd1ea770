import type { Client } from "./index.js";

/**
 * Bind everything below `root` that has LightMoon's attributes, and what is added to it later. Importing the module in a
 * page binds the document. Returns the function that ends it.
 */
export declare function bind(root?: Document | Element, client?: Client): () => void;
