/** The types of LightMoon's runtime in the browser. Import it as "lightmoon/client". */

export type ClientState = "connecting" | "open" | "waiting" | "closed";

export type TransportName = "websocket" | "sse" | "poll";

export declare const State: Readonly<{
  CONNECTING: "connecting";
  OPEN: "open";
  WAITING: "waiting";
  CLOSED: "closed";
}>;

/** Takes a handler off again. */
export type Off = () => void;

export declare class LightMoonError extends Error {
  /** The JSON-RPC number. */
  readonly code: number;
  /** The slug to match on: "too_low", "forbidden", "outcome_unknown", … */
  readonly type: string;
  /** Nothing of the call happened; it may be sent again. */
  readonly retryable: boolean;
  /** Seconds. */
  readonly retryAfter?: number;
  /** Where in the input, as `$.amount`. */
  readonly path?: string;
  /** Stands in the server's log. */
  readonly errorId?: string;
  /** What the actor declared along with the error. */
  readonly data?: unknown;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface ClientOptions {
  /** Of the WebSocket; may be relative to the page. */
  url?: string;
  /** The hash that the proxies were generated with. */
  schema?: string;
  /** The value of an Authorization header, or what gives it anew for each connection and before one ends. */
  token?: string | (() => string | Promise<string>);
  /** Those to use, the best one first. One that doesn't open is followed by the next. */
  transports?: TransportName[];
  /** Gives Django's CSRF token for POSTs, if not by the cookie "csrftoken". */
  csrf?: () => string | undefined;
  protocol?: number;
  /** Load the page again, once, when it is older than the server and neither a handler nor the page says otherwise. */
  reload?: boolean;
  /** Seconds that a call waits for a connection, or for one that it can be sent again on. */
  timeout?: number;
  /** Seconds. */
  backoff?: { base?: number; cap?: number; random?: () => number };
  /** The class to use where there is no global one. */
  WebSocket?: unknown;
  /** The function to use where there is no global one. */
  fetch?: typeof globalThis.fetch;
}

export declare class Client {
  constructor(options?: ClientOptions);
  readonly state: ClientState;
  /** How messages travel at the moment. */
  readonly transport: TransportName | undefined;
  /** After a reconnect: whether the server still had the session, with its calls and subscriptions. */
  on(name: "recovered", handler: (recovered: boolean) => void): Off;
  on(name: "state", handler: (state: ClientState) => void): Off;
  /** The login has ended by which the server knew who this is; it goes on as nobody's. */
  on(name: "expired", handler: (expired: { reason: "session" | "token" | "user" }) => void): Off;
  on(name: "upgrade", handler: (error: LightMoonError) => void): Off;
  /** For tools: what is sent is a text, what is received one message or a batch. */
  on(name: "frame", handler: (way: "sent" | "received", frame: unknown) => void): Off;
  connect(): void;
  close(): void;
  call<R = unknown>(method: string, params: object | unknown[], options?: CallOptions): Promise<R>;
}

/** The client of this page, as `{% lightmoon_js %}` configured it. */
export declare const client: Client;

/** Where in its actor's stream an event stands. */
export interface EventMeta {
  actor: string;
  key: string;
  epoch: string;
  seq: number;
  name: string;
}

export interface Reset<S> {
  reason: string;
  state: S | undefined;
}

/** A user who follows an actor, with what its class shows of users, when each connection came, and what it says of itself. */
export interface Present {
  info: Record<string, any>;
  connections: Record<string, { at: string; meta?: Record<string, any> }>;
}

/** Who follows an actor. */
export interface Presence {
  /** By key; those who are anonymous are together under the empty one. Undefined while there are too many to list. */
  users: Record<string, Present> | undefined;
  count: { users: number; anonymous: number; connections: number };
}

/** Who came with a first connection, and who went with the last one. */
export interface PresenceChange extends Presence {
  joins: Record<string, Present>;
  leaves: Record<string, Present>;
}

/** What every proxy has besides its messages. `E` maps the names of events to their data. */
export interface ActorProxy<S = Record<string, unknown>, E = Record<string, any>> {
  readonly key: string;
  readonly state: Readonly<S> | undefined;
  /** Who follows the actor, where its class tells. */
  readonly presence: Presence | undefined;
  /** Show others who follow the actor this of the connection, as its `meta`: a small JSON object, which replaces the last one. */
  present(meta: Record<string, any>): void;
  /** Somebody came or went, or presents something else. */
  on(name: "presence", handler: (change: PresenceChange) => void): Off;
  /** Events may have been missed. Not told when all that were missed came after all. */
  on(name: "reset", handler: (reset: Reset<S>) => void): Off;
  on(name: "error", handler: (error: LightMoonError) => void): Off;
  on<N extends keyof E>(name: N, handler: (data: E[N], meta: EventMeta) => void): Off;
  /** Calls the listener at once, and then with each new state. */
  subscribe(listener: (state: Readonly<S> | undefined) => void): Off;
  /** What `state` is; the same object until it changes. */
  getSnapshot(): Readonly<S> | undefined;
  /**
   * Make a call, and show what `update` makes of the state until the one is there that the call has made. `update` gives a
   * new object; it runs again on each state of the server meanwhile. When the call fails, it is as if it had never run.
   * The call is one of this actor's, made at once and not after an `await`.
   */
  optimistic<R>(update: (state: Readonly<S>) => S, call: () => R): R;
  toJSON(): string;
}

export type ActorClass<M = Record<string, (...args: any[]) => Promise<any>>, S = Record<string, unknown>, E = Record<string, any>> = (
  key: string | number | bigint,
  client?: Client,
) => ActorProxy<S, E> & M;

/** The proxies of one actor class: `actor("chat.Room", {say: ["text"]})`. Generated modules are made of it. */
export declare function actor(name: string, messages: Record<string, string[]>): ActorClass;
