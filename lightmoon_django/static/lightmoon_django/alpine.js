/**
 * Alpine's `$lm`: `$lm('chat.Room:42').state.topic` in an expression is kept up to date, and
 * `$lm('chat.Room:42').say('hi')` sends a message. Import the module before Alpine starts.
 */
import { at, parse } from "./address.js";
import { client as page } from "./page.js";

/** The plug-in: `Alpine.plugin(plugin)`. A page that has Alpine gets it by itself. */
export default function plugin(Alpine) {
  install(Alpine, page);
}

/** The same for another client than the page's. */
export function install(Alpine, client) {
  const live = new Map(); // by address, those that elements on the page use
  const users = new WeakMap(); // addresses by element
  const status = Alpine.reactive({ state: client.state });
  client.on("state", (state) => (status.state = state));

  Alpine.magic("lm", (element, { cleanup }) => (address) => {
    const used = users.get(element) ?? users.set(element, new Set()).get(element);
    const found = live.get(address) ?? live.set(address, new LiveActor(Alpine, client, address)).get(address);
    if (!used.has(address)) {
      used.add(address);
      found.users += 1;
      cleanup(() => used.delete(address) && (found.users -= 1) === 0 && (found.end(), live.delete(address)));
    }
    return found.handle;
  });
  Alpine.magic("connection", () => status.state);
}

/** What expressions see of one actor: `state` (empty until it is there), `ready`, `error`, and its messages as methods. */
class LiveActor {
  users = 0;

  constructor(Alpine, client, address) {
    const { name, key } = parse(address);
    const room = at(address, client);
    const shown = Alpine.reactive({ state: {}, ready: false, error: null });
    const send = (message) => (...args) => {
      shown.error = null;
      const sent = client.call(`${name}.${message}`, [key, ...args]);
      sent.catch((error) => (shown.error = error));
      return sent;
    };
    const offs = [
      room.subscribe((state) => Object.assign(shown, { state: state ?? {}, ready: state !== undefined })),
      room.on("error", (error) => (shown.error = error)),
    ];
    this.end = () => offs.forEach((off) => off());
    this.handle = new Proxy(shown, {
      get: (target, member) => {
        if (Reflect.has(target, member) || typeof member === "symbol" || /^(?:then|toJSON|__v_\w+)$/.test(member)) return target[member];
        return send(member);
      },
    });
  }
}

if (globalThis.Alpine) globalThis.Alpine.plugin(plugin);
else globalThis.document?.addEventListener("alpine:init", () => globalThis.Alpine?.plugin(plugin), { once: true });
