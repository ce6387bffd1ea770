/** Hear of a network that is back, and of a page that is seen again or runs again. */
export function onWake(handler) {
  globalThis.addEventListener?.("online", handler);
  globalThis.document?.addEventListener("resume", handler);
  globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "visible" && handler());
}

/** Hear of a page that is left for good. */
export function onLeave(handler) {
  globalThis.addEventListener?.("pagehide", ({ persisted }) => persisted || handler());
}
