import { actor } from "./actor.js";

const kinds = new Map();

/** An actor by its address as text, `chat.Room:42`; without the methods that generated proxies have. */
export function at(address, client) {
  const { name, key } = parse(address);
  if (!kinds.has(name)) kinds.set(name, actor(name, {}));
  return kinds.get(name)(key, client);
}

/** The parts of an address. Throws a `TypeError` that says what one looks like. */
export function parse(address) {
  const [, name, key] = /^([^:.]+\.[^:.]+):(.+)$/s.exec(address) ?? [];
  if (key === undefined) throw new TypeError(`"${address}" is no address. One looks like "chat.Room:42".`);
  return { name, key };
}
