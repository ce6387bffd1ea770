import { LightMoonError, cancelled, outcomeUnknown, unavailable } from "./errors.js";
import { CallState } from "./state.js";

/**
 * The life of one call: queued, sent, done. It ends by exactly one of `resolve` and `reject`.
 *
 * The arguments are encoded when it is made, so changing them later changes nothing. It waits `timeout` seconds to be
 * sent; once sent, the server answers by its own deadline or the connection breaks.
 */
export class Call {
  state = CallState.QUEUED;
  #frame;
  #connection;
  #resolve;
  #reject;
  #settled;
  #signal;
  #timer;

  /** `settled` is called when the call is over, before its caller hears of it. Throws what JSON can't carry. */
  constructor(id, method, params, { resolve, reject, settled, signal, timeout }) {
    this.id = id;
    this.#frame = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    this.#resolve = resolve;
    this.#reject = reject;
    this.#settled = settled;
    this.#signal = signal;
    this.#timer = setTimeout(() => this.fail(unavailable("There is no connection to the server.")), timeout * 1000);
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) this.#abort();
  }

  send(connection) {
    if (this.state !== CallState.QUEUED) return;
    clearTimeout(this.#timer);
    this.state = CallState.SENT;
    this.#connection = connection;
    connection.send(this.#frame);
  }

  /** The server's answer. */
  answer({ error, result }) {
    if (error) this.fail(LightMoonError.fromRpc(error));
    else if (this.#end()) this.#resolve(result);
  }

  /** The connection is gone. A call that was not sent waits for the next one. */
  disconnected() {
    if (this.state === CallState.SENT) this.fail(outcomeUnknown());
  }

  fail(error) {
    if (this.#end()) this.#reject(error);
  }

  /** Ask the server to cancel; whether it still could, its answer says. */
  #abort = () => {
    if (this.state === CallState.SENT) {
      this.#connection.notify("$/cancelRequest", { id: this.id });
    } else {
      this.fail(cancelled(this.#signal.reason));
    }
  };

  #end() {
    if (this.state === CallState.DONE) return false;
    this.state = CallState.DONE;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#settled(this);
    return true;
  }
}
