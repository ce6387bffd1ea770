/**
 * Tells the panel at `lightmoon/devtools` what the page's client does: calls with their times, events, state patches and
 * the connection. The panel is a page of the same origin, which listens to the same BroadcastChannel; tokens stay here.
 */
import { client as page } from "./page.js";

const CHANNEL = "lightmoon-devtools";
const KEPT = 500; // entries for a panel that is opened later
const SECRET = new Set(["token", "session"]);

/** Watch a client. Returns the function that ends it. */
export function watch(client = page, channel = new BroadcastChannel(CHANNEL)) {
  const journal = new Journal(client, channel);
  const offs = [
    client.on("frame", (way, frame) => (way === "sent" ? journal.sent(frame) : journal.received(frame))),
    client.on("state", (state) => journal.connection(state)),
    () => channel.close(),
  ];
  return () => offs.forEach((off) => off());
}

class Journal {
  #client;
  #channel;
  #id = Math.random().toString(36).slice(2, 10);
  #entries = [];
  #count = 0;
  #open = new Map(); // calls by their ids

  constructor(client, channel) {
    this.#client = client;
    this.#channel = channel;
    channel.onmessage = ({ data }) => data.want === "all" && this.#tell(this.#entries);
    this.connection(client.state);
  }

  connection(state) {
    this.#add({ kind: "connection", name: state, detail: { state, transport: this.#client.transport } });
  }

  sent(frame) {
    const { id, method, params } = JSON.parse(frame);
    if (method === "lm.ping") return;
    const entry = this.#add({ kind: kindOf(method), name: method, key: params?.key, detail: { params: hide(params) } });
    if (id !== undefined) this.#open.set(id, entry);
  }

  received(message) {
    if (Array.isArray(message)) return message.forEach((one) => this.received(one));
    const { id, method, params, result, error } = message;
    if (method !== undefined) return this.#notified(method, params);
    const entry = this.#open.get(id);
    if (!entry) return;
    this.#open.delete(id);
    entry.ms = performance.now() - entry.started;
    entry.failed = error !== undefined;
    Object.assign(entry.detail, error === undefined ? { result: hide(result) } : { error });
    this.#tell([entry]);
  }

  #notified(method, params) {
    const { actor, key, seq, epoch, name, ...detail } = params;
    const kind = { "lm.event": "event", "lm.state": "state" }[method] ?? "stream";
    const what = kind === "event" ? `${actor}.${name}` : kind === "state" ? actor : `${method} ${actor ?? ""}`;
    this.#add({ kind, name: what, key, seq, epoch, detail });
  }

  #add(entry) {
    Object.assign(entry, { number: ++this.#count, at: Date.now(), started: performance.now() });
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift();
    this.#tell([entry]);
    return entry;
  }

  #tell(entries) {
    this.#channel.postMessage({ client: this.#id, title: document.title, url: location.href, entries });
  }
}

function kindOf(method) {
  return method.startsWith("lm.") || method.startsWith("$/") ? "stream" : "call";
}

/** The same without what proves who somebody is. */
function hide(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, SECRET.has(name) && one ? "…" : one]));
}

if (globalThis.document) watch();
