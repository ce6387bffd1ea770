/**
 * What a call ends with if not with a result.
 *
 * `code` is the JSON-RPC number, `type` the slug to match on ("too_low", "forbidden", "outcome_unknown"). `retryable`
 * says that nothing of the call happened and it may be sent again, after `retryAfter` seconds if that is given.
 * `data` is what the actor declared along with the error.
 */
export class LightMoonError extends Error {
  constructor(message, { code = 5000, type = "internal", retryable = false, retryAfter, path, errorId, data, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "LightMoonError";
    Object.assign(this, { code, type, retryable, retryAfter, path, errorId, data });
  }

  /** From a JSON-RPC error object. */
  static fromRpc({ code, message, data = {} }) {
    const { type, retryable, retry_after: retryAfter, path, error_id: errorId, detail } = data ?? {};
    return new LightMoonError(message, { code, type, retryable, retryAfter, path, errorId, data: detail });
  }
}

export const cancelled = (cause) =>
  new LightMoonError("The call was cancelled before it was sent.", { code: -32800, type: "cancelled", cause });

export const outcomeUnknown = (cause) =>
  new LightMoonError("The connection was lost before the answer came. The call may or may not have happened.", {
    code: 4008,
    type: "outcome_unknown",
    cause,
  });

export const tooLarge = (limit) =>
  new LightMoonError(`A request may have ${limit} bytes.`, { code: 4013, type: "too_large" });

export const overloaded = (retryAfter) =>
  new LightMoonError("The server says that too much comes from here.", { code: 4029, type: "overloaded", retryable: true, retryAfter });

export const unavailable = (message) =>
  new LightMoonError(message, { code: 5003, type: "unavailable", retryable: true });

export const forbidden = (message) => new LightMoonError(message, { code: 4003, type: "forbidden" });

/** Tell the developer about an error that no code can catch. */
export function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else console.error(error);
}
