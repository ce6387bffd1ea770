import { LightMoonError, cancelled, outcomeUnknown, tooLarge, unavailable } from "./errors.js";
import { CallState } from "./state.js";

/**
 * The life of one call: queued, sent, done; adrift while there is no connection. It ends by exactly one of `resolve`
 * and `reject`.
 *
 * The arguments are encoded when it is made, so changing them later changes nothing. It waits `timeout` seconds to be
 * sent, or to be sent again; once sent, the server answers by its own deadline or the connection breaks. A `fleeting`
 * call means its own connection alone, and is never sent again.
 */
export class Call {
  state = CallState.QUEUED;
  #frame;
  #fleeting;
  #timeout;
  #connection;
  #resolve;
  #reject;
  #settled;
  #signal;
  #timer;

  /** `settled` is called when the call is over, before its caller hears of it. Throws what JSON can't carry. */
  constructor(id, method, params, { resolve, reject, settled, signal, timeout, mark, fleeting = false }) {
    this.id = id;
    this.#frame = JSON.stringify({ jsonrpc: "2.0", id, method, params, mark });
    this.lane = laneOf(method, params);
    this.#fleeting = fleeting;
    this.#timeout = timeout;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#settled = settled;
    this.#signal = signal;
    this.#wait(() => unavailable("There is no connection to the server."));
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) this.#abort();
  }

  send(connection) {
    if (this.state !== CallState.QUEUED && this.state !== CallState.ADRIFT) return;
    if (isLonger(this.#frame, connection.limit)) return this.fail(tooLarge(connection.limit));
    clearTimeout(this.#timer);
    this.state = CallState.SENT;
    this.#connection = connection;
    connection.send(this.#frame, this.lane);
  }

  /** The server's answer. */
  answer({ error, result }) {
    if (error) this.fail(LightMoonError.fromRpc(error));
    else if (this.#end()) this.#resolve(result);
  }

  /** The connection is gone. A call that was not sent waits for the next one; so does another, if `resumable`. */
  disconnected(resumable) {
    if (this.state !== CallState.SENT) return;
    if (!resumable || this.#fleeting) return this.fail(outcomeUnknown());
    this.state = CallState.ADRIFT;
    this.#wait(outcomeUnknown);
  }

  /** There is a connection again, but the session that knew this call is gone. */
  stranded() {
    if (this.state === CallState.ADRIFT) this.fail(outcomeUnknown());
  }

  /** No connection is waited for any more. Of a call that was sent nobody knows whether it happened. */
  giveUp(error) {
    this.fail(this.state === CallState.QUEUED ? error : outcomeUnknown(error));
  }

  fail(error) {
    if (this.#end()) this.#reject(error);
  }

  /** Ask the server to cancel; whether it still could, its answer says. */
  #abort = () => {
    const { reason } = this.#signal;
    if (this.state === CallState.ADRIFT) this.fail(outcomeUnknown(reason));
    else if (this.#waits()) this.fail(cancelled(reason));
    else this.#connection.notify("$/cancelRequest", { id: this.id });
  };

  #waits() {
    return this.state === CallState.QUEUED || this.#connection.withdraw(this.#frame, this.lane);
  }

  #wait(error) {
    this.#timer = setTimeout(() => this.fail(error()), this.#timeout * 1000);
  }

  #end() {
    if (this.state === CallState.DONE) return false;
    this.state = CallState.DONE;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#settled(this);
    return true;
  }
}

/** The server could not say which call it was that had more bytes than it reads. */
function isLonger(frame, bytes) {
  return frame.length * 3 > bytes && new TextEncoder().encode(frame).length > bytes;
}

/** What keeps the order in which messages to one actor are sent. */
export function laneOf(method, params) {
  if (method.startsWith("lm.")) return params?.actor && `${params.actor}:${params.key}`;
  return `${method.slice(0, method.lastIndexOf("."))}:${Array.isArray(params) ? params[0] : params?.key}`;
}
