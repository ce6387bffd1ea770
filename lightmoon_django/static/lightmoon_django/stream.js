import { Backoff } from "./backoff.js";
import { Emitter, inform } from "./emitter.js";
import { report } from "./errors.js";
import { Overlay } from "./overlay.js";
import { Presence } from "./presence.js";
import { StreamState } from "./state.js";

const CHANGED = Symbol("changed");
const STABLE = 5; // seconds after which a subscription counts as a success

/**
 * The stream of one actor as this client follows it: its events in order, and the state that it mirrors.
 *
 * It is subscribed while anybody listens. Every frame has the position after its predecessor; where that fails, or the
 * server or the network break it off, it joins again and says where it stands. Either it gets what it missed, as if
 * nothing had happened, or a fresh state: then the handlers of "reset" hear why, for there may be events that they
 * missed. There is never a silent gap.
 */
export class Stream {
  #client;
  #names;
  #state = StreamState.IDLE;
  #emitter = new Emitter();
  #overlay = new Overlay((snapshot) => this.#emitter.emit(CHANGED, snapshot));
  #presence = new Presence((found) => this.#emitter.emit("presence", found));
  #meta; // what others are shown of this connection
  #listening = 0;
  #attempt = 0; // answers to earlier attempts don't count
  #epoch;
  #seq;
  #lost; // why handlers will be told "reset"
  #backoff;
  #joinedAt = 0;
  #early = []; // what came before the answer to the subscription; over HTTP frames may overtake it
  #timer;

  constructor(client, actor, key) {
    this.#client = client;
    this.#names = { actor, key };
    this.#backoff = new Backoff({ ...client.backoff, base: (client.backoff.base ?? 1) / 5 });
  }

  /** Who follows the actor, undefined until it is known. */
  get presence() {
    return this.#presence.current;
  }

  /** Show others something else of this connection. Where that can't be said now, it is by the next `join`. */
  present(meta) {
    const [before, said] = [this.#meta, JSON.parse(JSON.stringify(meta))];
    this.#meta = said;
    if (this.#state !== StreamState.LIVE && this.#state !== StreamState.JOINING) return;
    const failed = (error) => {
      if (error.type === "outcome_unknown") return;
      if (!error.retryable) {
        if (this.#meta === said) this.#meta = before; // or the next subscription would be refused for it
        return this.#tellError(error);
      }
      if (this.#state !== StreamState.LIVE) return;
      this.#lost = error.type;
      this.#joinLater(error.retryAfter);
    };
    this.#client.requestNow("lm.present", { ...this.#names, meta: said }, { resolve: () => {}, reject: failed });
  }

  /** Hear of an event, or of "presence", "reset" and "error". Returns the function that ends it. */
  on(name, handler) {
    return this.#listen(this.#emitter.on(name, handler));
  }

  /** Hear of the state now, and of every change, its arrival included. Returns the function that ends it. */
  watch(listener) {
    const off = this.#listen(this.#emitter.on(CHANGED, listener));
    inform(listener, this.snapshot);
    return off;
  }

  /** The state as it is shown, undefined until it is there. The same object until it changes. */
  get snapshot() {
    return this.#overlay.snapshot;
  }

  /** What a call that is made now carries, so that the update it belongs to knows its state. */
  mark() {
    return this.#overlay.mark();
  }

  /** Make a call, and show until its state is there what `update` makes of the one there is. */
  expect(update, call) {
    return this.#overlay.expect(update, call);
  }

  #listen(off) {
    this.#listening += 1;
    if (this.#state === StreamState.IDLE || this.#state === StreamState.REFUSED) {
      this.#state = StreamState.BROKEN;
      this.#client.follow(this);
    }
    return () => {
      if (!off) return;
      off();
      off = undefined;
      this.#listening -= 1;
      queueMicrotask(() => this.#leaveIfUnused()); // who re-subscribes in the same breath stays subscribed
    };
  }

  #leaveIfUnused() {
    if (this.#listening || this.#state === StreamState.IDLE) return;
    this.#enter(StreamState.IDLE);
    this.#lost = this.#epoch = undefined;
    this.#overlay.replace(undefined);
    this.#presence.forget();
    this.#client.unfollow(this);
  }

  get names() {
    return this.#names;
  }

  /** Whether it goes on from a position when it joins again: nothing that happens before that is lost. */
  get placed() {
    return this.#epoch !== undefined;
  }

  /** There is a connection: subscribe on it. */
  join() {
    const attempt = this.#enter(StreamState.JOINING);
    const current = (step) => (value) => attempt === this.#attempt && step(value);
    const since = this.#epoch === undefined ? {} : { since: { epoch: this.#epoch, seq: this.#seq } };
    const meta = this.#meta === undefined ? {} : { meta: this.#meta };
    this.#client.request("lm.subscribe", { ...this.#names, ...since, ...meta }, {
      fleeting: true,
      resolve: current((found) => this.#joined(found)),
      reject: current((error) => this.#failed(error)),
    });
  }

  /** A frame of this stream. */
  receive(method, params) {
    if (this.#state === StreamState.JOINING) this.#early.push([method, params]);
    if (method === "lm.reset") return this.#reset(params.reason);
    if (method === "lm.presence") return this.#present(params);
    if (this.#state === StreamState.LIVE && this.#follows(params)) this.#take(params);
  }

  #present(params) {
    if (this.#state === StreamState.LIVE && !this.#presence.take(params)) this.#reset("gap");
  }

  #take(params) {
    if (params.name !== undefined) this.#emitter.emit(params.name, params.data, params);
    else if (params.set) this.#patch(params);
  }

  /** The connection is gone; the client calls `join` when there is another. */
  disconnected() {
    if (this.#state === StreamState.LIVE) this.#lost = "reconnected";
    this.#backoff.reset();
    this.#presence.disconnected();
    this.#enter(StreamState.BROKEN);
  }

  #joined(found) {
    const early = this.#early;
    const attempt = this.#enter(StreamState.LIVE);
    this.#joinedAt = Date.now();
    if (found.presence) this.#presence.snapshot(found.presence);
    if (attempt !== this.#attempt) return; // a handler has ended it
    if (found.recovered) this.#goOn(found, attempt);
    else this.#begin(found);
    for (const [method, params] of early) if (attempt === this.#attempt) this.receive(method, params);
    if (attempt === this.#attempt) this.#overlay.settle();
  }

  #goOn({ state, events }, attempt) {
    this.#lost = undefined;
    for (const params of events) if (attempt === this.#attempt && this.#follows(params)) this.#take(params);
    if (!state || attempt !== this.#attempt) return;
    this.#overlay.accept(state, events.map(({ mark }) => mark)); // where users see different things
  }

  #begin({ epoch, seq, state }) {
    this.#epoch = epoch;
    this.#seq = seq;
    const reason = this.#lost;
    this.#lost = undefined;
    const before = this.snapshot;
    this.#overlay.replace(state ?? undefined);
    if (reason) this.#emitter.emit("reset", { reason, state: this.snapshot });
    if (this.snapshot === before) this.#emitter.emit(CHANGED, before); // an actor that shows nothing has arrived too
  }

  #failed(error) {
    if (error.retryable || error.type === "outcome_unknown") return this.#joinLater(error.retryAfter);
    this.#refuse();
    this.#tellError(error);
  }

  #tellError(error) {
    if (!this.#emitter.emit("error", error)) report(error);
  }

  #follows({ epoch, seq }) {
    if (epoch === this.#epoch && seq === this.#seq + 1) {
      this.#seq = seq;
      return true;
    }
    const seen = epoch < this.#epoch || (epoch === this.#epoch && seq <= this.#seq);
    if (!seen) this.#reset("gap");
    return false;
  }

  #patch({ set = {}, unset = [], mark }) {
    const state = { ...this.#overlay.latest, ...set };
    for (const name of unset) delete state[name];
    this.#overlay.accept(state, [mark]);
  }

  #reset(reason) {
    if (this.#state !== StreamState.LIVE) return;
    if (reason !== "forbidden") {
      this.#lost = reason;
      if (Date.now() - this.#joinedAt > STABLE * 1000) this.#backoff.reset();
      return this.#joinLater();
    }
    this.#refuse();
    this.#emitter.emit("reset", { reason, state: undefined });
  }

  #joinLater(least) {
    this.#enter(StreamState.BROKEN);
    this.#timer = setTimeout(() => this.#client.follow(this), this.#backoff.next(least) * 1000);
  }

  #refuse() {
    this.#enter(StreamState.REFUSED);
    this.#epoch = undefined;
    this.#presence.forget();
    this.#overlay.replace(undefined);
  }

  #enter(state) {
    clearTimeout(this.#timer);
    this.#state = state;
    this.#early = [];
    this.#overlay.live = state === StreamState.LIVE;
    return ++this.#attempt;
  }
}
