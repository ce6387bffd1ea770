/**
 * Live pages without a script: elements say in attributes which actor they show, and what of it.
 *
 * `data-lm="chat.Room:42"` makes an element's inside show that actor; docs/javascript.md lists the attributes that can
 * stand there. They hold names and paths and are never evaluated, so the strictest Content Security Policy allows them.
 * Importing the module binds the document, what is added to it later too.
 */
import { at } from "./address.js";
import { called } from "./bindings/calls.js";
import { EventList } from "./bindings/events.js";
import { render } from "./bindings/render.js";
import { follow } from "./elements.js";
import { report } from "./errors.js";
import { client as page } from "./page.js";

/** Bind everything below `root`, the actors being called through `client`. Returns the function that ends it. */
export function bind(root = document, client = page) {
  const offs = [
    follow(root, "data-lm", (element, address) => attach(element, address, client)),
    follow(root, "data-lm-status", (element) => showStatus(element, client)),
    ...["submit", "click", "change"].map((kind) => {
      const handler = (event) => called(event, client);
      root.addEventListener(kind, handler);
      return () => root.removeEventListener(kind, handler);
    }),
  ];
  return () => offs.forEach((off) => off());
}

function attach(element, address, client) {
  let room;
  try {
    room = at(address, client);
  } catch (error) {
    report(error);
    return () => {};
  }
  const events = new EventList(element, room);
  let seen; // the state that the page had before is what the server rendered
  const off = room.subscribe((state) => {
    if (state === undefined && seen === undefined) return;
    seen = state;
    if (state !== undefined) render(element, state);
    tell(element, "lightmoon:state", { address, state });
  });
  const offError = room.on("error", (error) => tell(element, "lightmoon:error", { address, error }));
  return () => {
    off();
    offError();
    events.end();
  };
}

function showStatus(element, client) {
  const show = () => (element.dataset.state = client.state);
  show();
  return client.on("state", show);
}

function tell(element, name, detail) {
  element.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
}

if (globalThis.document) bind();
