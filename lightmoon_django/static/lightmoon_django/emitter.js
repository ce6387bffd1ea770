import { report } from "./errors.js";

/** Handlers by name. One that throws is reported and stops no other. */
export class Emitter {
  #handlers = new Map();

  /** Returns the function that takes the handler off again. The same function may be on several times. */
  on(name, handler) {
    if (typeof handler !== "function") throw new TypeError(`The handler of "${name}" must be a function.`);
    const entry = { handler };
    if (!this.#handlers.has(name)) this.#handlers.set(name, new Set());
    this.#handlers.get(name).add(entry);
    return () => this.#off(name, entry);
  }

  /** Whether anybody was told. */
  emit(name, ...args) {
    const entries = [...(this.#handlers.get(name) ?? [])];
    for (const { handler } of entries) inform(handler, ...args);
    return entries.length > 0;
  }

  #off(name, entry) {
    const entries = this.#handlers.get(name);
    if (entries?.delete(entry) && !entries.size) this.#handlers.delete(name);
  }
}

/** Call what is the user's; what it throws is reported. */
export function inform(handler, ...args) {
  try {
    handler(...args);
  } catch (error) {
    report(error);
  }
}
