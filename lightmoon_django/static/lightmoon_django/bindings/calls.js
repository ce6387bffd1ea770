import { at, parse } from "../address.js";
import { OBEYED } from "../elements.js";
import { report } from "../errors.js";
import { contextOf, lookUp, pairs } from "./paths.js";

const FIELDS = `:is(input, select, textarea)${OBEYED}`;
const ERROR = `[data-lm-error]${OBEYED}`;

/**
 * A form that is sent, a button that is pressed, a field that is changed: send the message that its `data-lm-call` names
 * to the actor around it. While it is under way the element is `aria-busy` and takes no other; then it hears
 * `lightmoon:result`, or `lightmoon:error` and the nearest `data-lm-error` says what went wrong.
 */
export function called(event, client) {
  const element = event.target instanceof Element && event.target.closest(`[data-lm-call]${OBEYED}`);
  if (!element || kindFor(element) !== event.type) return;
  if (event.type !== "change") event.preventDefault();
  if (event.submitter && !event.submitter.matches(OBEYED)) return; // a button elsewhere may name any form as its own
  if (element.getAttribute("aria-busy") !== "true") send(element, event.submitter, client);
}

function kindFor(element) {
  if (element.matches("form")) return "submit";
  const pressed = element.matches('input[type="button"], input[type="submit"], input[type="image"]');
  return element.matches(FIELDS) && !pressed ? "change" : "click";
}

async function send(element, submitter, client) {
  const scope = element.closest("[data-lm]");
  try {
    if (!scope) throw new TypeError('An element with data-lm-call stands inside one with data-lm="chat.Room:42".');
    const { name, key } = parse(scope.getAttribute("data-lm"));
    const params = paramsOf(element, submitter, at(scope.getAttribute("data-lm"), client).state);
    complain(element, "");
    element.setAttribute("aria-busy", "true");
    const result = await client.call(`${name}.${element.getAttribute("data-lm-call")}`, { ...params, key });
    if (element.matches("form") && !element.querySelector("[data-lm-value]")) element.reset(); // those show the state
    tell(element, "lightmoon:result", { result });
  } catch (error) {
    const shown = complain(element, error.message);
    const handled = !tell(element, "lightmoon:error", { error });
    if (!shown && !handled) report(error);
  } finally {
    element.removeAttribute("aria-busy");
  }
}

/** Of `data-lm-params` (JSON), `data-lm-with` (paths), and the fields of a form, or the field or button itself. */
function paramsOf(element, submitter, state) {
  const context = contextOf(element, state);
  const paths = pairs(element.getAttribute("data-lm-with") ?? "").map(([name, path]) => [name, lookUp(path, context)]);
  const fixed = JSON.parse(element.getAttribute("data-lm-params") ?? "{}");
  return { ...fixed, ...Object.fromEntries(paths), ...fieldsOf(element, submitter) };
}

function fieldsOf(element, submitter) {
  const fields = element.matches("form") ? [...element.elements].filter((one) => one.matches(FIELDS)) : [element];
  if (submitter && !fields.includes(submitter)) fields.push(submitter);
  const params = {};
  for (const field of fields) {
    const value = field.name && !field.matches(":disabled") ? valueOf(field, submitter ?? element) : undefined;
    if (value !== undefined && field.name !== "csrfmiddlewaretoken") params[field.name] = value;
  }
  return params;
}

/** As JSON has it: numbers and ticks are no texts. Undefined for a field that says nothing. */
function valueOf(field, pressed) {
  const kind = field.getAttribute("data-lm-type") ?? field.type;
  if (["submit", "button", "image"].includes(field.type) && field !== pressed) return undefined;
  if (field.type === "radio" && !field.checked) return undefined;
  if (kind === "checkbox") return field.checked;
  if (kind === "select-multiple") return [...field.selectedOptions].map(({ value }) => value);
  if (kind === "number" || kind === "range") return field.value === "" ? undefined : Number(field.value);
  if (kind === "json") return field.value === "" ? undefined : JSON.parse(field.value);
  return ["reset", "file"].includes(kind) ? undefined : field.value;
}

/** Whether there is a place for it: inside the element, or in the actor's element. */
function complain(element, text) {
  const place = element.querySelector(ERROR) ?? element.closest("[data-lm]")?.querySelector(ERROR);
  if (!place) return false;
  place.textContent = text;
  place.hidden = !text;
  return true;
}

function tell(element, name, detail) {
  return element.dispatchEvent(new CustomEvent(name, { bubbles: true, cancelable: true, detail }));
}
