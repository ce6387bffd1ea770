import { report } from "./errors.js";

const KEY = "lightmoon-reloaded-from";

/**
 * The page is older than the server. The event `lightmoon:upgrade` tells it; unless that is cancelled, the page is loaded
 * again if it is to `reload`. Only once from the same schema: what is still as old after that came out of a cache.
 */
export function outdated(error, reload, schema) {
  if (!globalThis.document) return;
  const told = new CustomEvent("lightmoon:upgrade", { cancelable: true, detail: error });
  if (document.dispatchEvent(told) && reload && isFirst(schema)) location.reload();
}

function isFirst(schema) {
  try {
    if (sessionStorage.getItem(KEY) === schema) return false;
    sessionStorage.setItem(KEY, schema);
    return true;
  } catch (error) {
    report(error); // without storage it might be loaded again and again
    return false;
  }
}
