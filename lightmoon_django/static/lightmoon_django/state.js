/** Where a client's connection is. */
export const State = Object.freeze({
  CONNECTING: "connecting", // the socket or the handshake is on its way
  OPEN: "open", // calls are answered
  WAITING: "waiting", // the connection was lost; the next attempt has its time
  CLOSED: "closed", // nobody used it yet, or it was closed, or this page must be reloaded
});

/** Where a call is. */
export const CallState = Object.freeze({
  QUEUED: "queued", // not sent: nothing of it happened
  SENT: "sent", // its answer is awaited
  ADRIFT: "adrift", // the connection broke; sent again if the session goes on, else its outcome is unknown
  DONE: "done", // it was answered, or failed
});

/** Where the subscription of one actor's stream is. */
export const StreamState = Object.freeze({
  IDLE: "idle", // nobody listens
  JOINING: "joining", // the snapshot is awaited
  LIVE: "live", // frames follow each other without a gap
  BROKEN: "broken", // it will join again: later, or with the next connection
  REFUSED: "refused", // the server said no
});
