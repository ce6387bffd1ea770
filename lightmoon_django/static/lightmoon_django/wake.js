/** Hear of a network that is back, and of a page that is seen again or runs again, until `signal` is aborted. */
export function onWake(handler, signal) {
  globalThis.addEventListener?.("online", handler, { signal });
  globalThis.document?.addEventListener("resume", handler, { signal });
  const seen = () => document.visibilityState === "visible" && handler();
  globalThis.document?.addEventListener("visibilitychange", seen, { signal });
}

/** Hear of a page that is left for good, likewise. */
export function onLeave(handler, signal) {
  globalThis.addEventListener?.("pagehide", ({ persisted }) => persisted || handler(), { signal });
}
