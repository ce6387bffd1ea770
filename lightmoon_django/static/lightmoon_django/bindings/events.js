import { OBEYED } from "../elements.js";
import { pairs } from "./paths.js";
import { copy, fill } from "./render.js";

const MOST = 200; // entries that are kept, unless data-lm-max says otherwise

/**
 * The events of an actor in its element: those that `data-lm-events="said typing"` names become DOM events
 * (`lightmoon:said`), and each `<template data-lm-event="said">` gets a copy before it with the event's data.
 */
export class EventList {
  #element;
  #offs = [];

  constructor(element, room) {
    this.#element = element;
    const names = pairs(element.getAttribute("data-lm-events") ?? "").map(([name]) => name);
    for (const template of this.#templates("[data-lm-event]")) names.push(template.getAttribute("data-lm-event"));
    for (const name of new Set(names)) this.#offs.push(room.on(name, (data, meta) => this.#take(name, data, meta, room)));
  }

  end() {
    for (const off of this.#offs) off();
  }

  #take(name, data, meta, room) {
    const detail = { name, data, meta };
    const told = new CustomEvent(`lightmoon:${name}`, { bubbles: true, cancelable: true, detail });
    if (!this.#element.dispatchEvent(told)) return; // the page has done with it what it wanted
    for (const template of this.#templates(`[data-lm-event="${CSS.escape(name)}"]`)) append(template, data, room.state);
  }

  #templates(selector) {
    const found = this.#element.querySelectorAll(`template${selector}${OBEYED}`);
    return [...found].filter((template) => template.closest("[data-lm]") === this.#element);
  }
}

function append(template, data, state) {
  const { parentElement: parent, ownerDocument: page } = template;
  const atEnd = parent.scrollHeight - parent.scrollTop - parent.clientHeight < 40;
  const most = Number(template.getAttribute("data-lm-max") ?? MOST);
  const elements = copy(template);
  template.before(...elements);
  for (const element of elements) {
    element.setAttribute("data-lm-entry", "");
    fill(element, data, state);
  }
  const entries = [...parent.children].filter((child) => child.hasAttribute("data-lm-entry"));
  for (const old of entries.slice(0, Math.max(0, entries.length - most))) old.remove();
  if (atEnd && !page.getSelection()?.toString()) parent.scrollTop = parent.scrollHeight;
}
