const items = new WeakMap(); // elements made from a template, and what each of them shows

/** Remember what an element made from a template shows. */
export function shows(element, item, root) {
  items.set(element, { item, root });
}

/** Whether a template has made the element. */
export const isMade = (element) => items.has(element);

/** What paths inside an element start from: `{item, root}`. */
export function contextOf(element, state) {
  for (let node = element; node; node = node.parentElement) {
    if (items.has(node)) return items.get(node);
    if (node.hasAttribute("data-lm")) break;
  }
  return { item: state, root: state };
}

/** The value at a path: `topic`, `leader.name`, `/title` from the actor's state, `.` for all of it, `!closed` negated. */
export function lookUp(path, { item, root }) {
  if (path.startsWith("!")) return !lookUp(path.slice(1), { item, root });
  const [start, names] = path.startsWith("/") ? [root, path.slice(1)] : [item, path];
  if (names === "." || names === "") return start;
  return names.split(".").reduce((value, name) => (isOwn(value, name) ? value[name] : undefined), start);
}

const isOwn = (value, name) => value !== null && typeof value === "object" && Object.hasOwn(value, name);

/** The pairs of `name:path other:path`; a name alone is its own path. */
export function pairs(text) {
  return text
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((one) => {
      const [, name, path] = /^(.+?)(?::(.+))?$/.exec(one);
      return [name, path ?? name];
    });
}
