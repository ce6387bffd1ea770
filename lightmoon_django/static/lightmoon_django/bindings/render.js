import { report } from "../errors.js";
import { isMade, lookUp, pairs, shows } from "./paths.js";

const LINKS = /^(?:href|src|action|formaction|xlink:href|poster|data|ping|to|from|by|values)$/i;
const SAFE = /^(?:(?:https?|mailto|tel|blob):|data:image\/(?!svg)|[^:]*$|[^:]*[/?#])/i; // what a link may lead to
const CODE = /^(?:on|srcdoc$|style$|data-lm|(?:data-)?hx-|x-|v-|[@:]|_$|(?:data-)?script$|(?:data-)?(?:sse|ws)-)/i; // or what bindings, htmx, Alpine and others obey
const CODE_ELEMENTS = "script, style, base";

const lists = new WeakMap(); // templates, and what each of them has made

/** Show the state in everything inside an element that says so, but for what belongs to another actor. */
export function render(element, state) {
  inside(element, { item: state, root: state });
}

function inside(element, context) {
  if (element.hasAttribute("data-lm-ignore")) return;
  show(element, context);
  for (const child of [...element.children]) {
    if (isMade(child) || child.hasAttribute("data-lm")) continue; // its own template's, or another actor's
    if (child.matches("template[data-lm-each]:not([data-lm-ignore])")) list(child, context);
    else inside(child, context);
  }
}

function show(element, context) {
  for (const [name, apply] of Object.entries(ATTRIBUTES)) {
    const text = element.getAttribute(name);
    if (text === null) continue;
    if (element.matches(CODE_ELEMENTS)) report(new TypeError(`${name} doesn't fill a <${element.localName}>: it would be code.`));
    else apply(element, text, context);
  }
}

const ATTRIBUTES = {
  "data-lm-text": (element, path, context) => setText(element, lookUp(path, context)),
  "data-lm-show": (element, path, context) => (element.hidden = !lookUp(path, context)),
  "data-lm-value": (element, path, context) => setValue(element, lookUp(path, context)),
  "data-lm-class": (element, text, context) => {
    for (const [name, path] of pairs(text)) element.classList.toggle(name, Boolean(lookUp(path, context)));
  },
  "data-lm-attr": (element, text, context) => {
    for (const [name, path] of pairs(text)) setAttribute(element, name, lookUp(path, context));
  },
};

function setText(element, value) {
  const text = textOf(value);
  if (element.textContent !== text) element.textContent = text; // else a selection in it would be lost
}

function textOf(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A field's value, but not under its user's hands. */
function setValue(element, value) {
  if (element === element.ownerDocument.activeElement) return;
  if (element.type === "checkbox") element.checked = Boolean(value);
  else if (element.type === "radio") element.checked = element.value === textOf(value);
  else if (element.value !== textOf(value)) element.value = textOf(value);
}

function setAttribute(element, name, value) {
  if (CODE.test(name)) return report(new TypeError(`data-lm-attr doesn't set "${name}", which would be code.`));
  if (value === undefined || value === null || value === false) return element.removeAttribute(name);
  const text = value === true ? "" : textOf(value);
  const links = /^values$/i.test(name) ? text.split(";") : [text];
  if (LINKS.test(name) && !links.every((one) => SAFE.test(one.trim()))) return element.removeAttribute(name); // javascript:
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** One copy of the template for each item of an array, before the template itself. */
function list(template, { item, root }) {
  const found = lookUp(template.getAttribute("data-lm-each"), { item, root });
  const wanted = Array.isArray(found) ? found : [];
  const path = template.getAttribute("data-lm-key");
  const before = lists.get(template) ?? new Map();
  const made = new Map();
  let place = template;
  for (const [index, one] of [...wanted.entries()].reverse()) {
    let key = path === null ? index : textOf(lookUp(path, { item: one, root }));
    while (made.has(key)) key = `${key} again`; // a key that isn't one
    const elements = before.get(key) ?? copy(template);
    before.delete(key);
    made.set(key, elements);
    place = put(elements, place);
    for (const element of elements) fill(element, one, root);
  }
  for (const elements of before.values()) elements.forEach((element) => element.remove());
  lists.set(template, made);
}

/** Copies of a template's elements. */
export function copy(template) {
  return [...template.ownerDocument.importNode(template.content, true).children];
}

/** Show an item in an element that a template has made. */
export function fill(element, item, root) {
  shows(element, item, root);
  inside(element, { item, root });
}

/** Elements in order before `place`; those that are there already are not moved. Gives the first. */
function put(elements, place) {
  for (const element of [...elements].reverse()) {
    if (element.nextElementSibling !== place || element.parentNode !== place.parentNode) place.before(element);
    place = element;
  }
  return place;
}
