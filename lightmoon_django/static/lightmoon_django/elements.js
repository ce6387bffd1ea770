/** Added to a selector: what stands in an element with `data-lm-ignore`, others may have written, and it isn't obeyed. */
export const OBEYED = ":not([data-lm-ignore], [data-lm-ignore] *)";

/**
 * Elements that have an attribute, now and later: `attach(element)` is called for each that is in the document, and the
 * function it gives when the element or its attribute has gone or changed. Returns the function that ends it all.
 */
export function follow(root, attribute, attach) {
  const attached = new Map();
  const selector = `[${CSS.escape(attribute)}]${OBEYED}`;

  const leave = (element) => {
    attached.get(element)?.();
    attached.delete(element);
  };
  const look = (records) => {
    for (const element of [...attached.keys()]) if (!root.contains(element)) leave(element);
    for (const { type, target } of records) if (type === "attributes") leave(target);
    for (const element of root.querySelectorAll(selector)) {
      if (!attached.has(element)) attached.set(element, attach(element, element.getAttribute(attribute)));
    }
  };
  const observer = new MutationObserver((records) => {
    if (records.some((record) => concerns(record, selector))) look(records);
  });
  observer.observe(root, { subtree: true, childList: true, attributeFilter: [attribute] });
  look([]);
  return () => {
    observer.disconnect();
    for (const element of [...attached.keys()]) leave(element);
  };
}

function concerns({ type, addedNodes, removedNodes }, selector) {
  const has = (node) => node.nodeType === 1 && (node.matches(selector) || node.querySelector(selector) !== null);
  return type === "attributes" || [...addedNodes, ...removedNodes].some(has);
}
