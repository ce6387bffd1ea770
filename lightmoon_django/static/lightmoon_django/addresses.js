/** One object per address, for as long as somebody holds it. */
export class Addresses {
  #refs = new Map();
  #gone = new FinalizationRegistry((address) => this.#refs.get(address)?.deref() ?? this.#refs.delete(address));

  /** The object of that address: the one there is, or what `make()` gives. */
  at(address, make) {
    const found = this.#refs.get(address)?.deref();
    if (found) return found;
    const made = make();
    this.#refs.set(address, new WeakRef(made));
    this.#gone.register(made, address);
    return made;
  }
}
