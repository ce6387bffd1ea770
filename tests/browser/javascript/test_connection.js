import { Client, actor } from "/lightmoon/index.js";
import { Backoff } from "/lightmoon/backoff.js";
import { equal, failure, ok, settle, test, watch } from "./harness.js";

const make = (server, options = {}) =>
  new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 }, ...options });

function states(client) {
  const seen = [client.state];
  client.on("state", (state) => seen.push(state));
  return seen;
}

test("back-off is exponential with full jitter, and bounded", async () => {
  const most = new Backoff({ base: 1, cap: 30, random: () => 0.999999 });
  equal(Array.from({ length: 7 }, () => Math.round(most.next())), [1, 2, 4, 8, 16, 30, 30]);
  most.reset();
  equal(Math.round(most.next()), 1);
  equal(new Backoff({ random: () => 0 }).next(), 0, "the least");
  const spread = new Backoff({ random: () => 0.5 });
  ok(spread.next(10) >= 10 && spread.next(10) <= 15, "what the server asked for, and a spread");
});

test("nothing connects before it is used; then the states follow each other", async (server, clock) => {
  const client = make(server);
  const seen = states(client);
  await settle();
  equal(server.connections.length, 0);
  client.connect();
  await server.greet();
  server.connection.drop();
  await clock.pass(1);
  await server.greet();
  client.close();
  equal(seen, ["closed", "connecting", "open", "waiting", "connecting", "open", "closed"]);
  ok(server.connection.closed, "the socket is closed");
  await clock.pass(300);
  equal(server.connections.length, 2, "sockets");
});

test("the handshake carries protocol, client, schema and a token that is asked for anew", async (server, clock) => {
  let count = 0;
  const client = make(server, { schema: "abc", token: async () => `Token ${++count}` });
  client.connect();
  await server.greet();
  const { client: name, ...rest } = server.connection.last("lm.hello").params;
  ok(typeof name === "string", "client is a string");
  equal(rest, { protocol: 1, schema: "abc", token: "Token 1" });
  server.connection.drop();
  await clock.pass(1);
  await server.greet();
  equal(server.connection.last("lm.hello").params.token, "Token 2");
});

test("another token is shown before the last one ends, on the same connection", async (server, clock) => {
  let count = 0;
  const client = make(server, { schema: "abc", token: async () => `Token ${++count}` });
  client.connect();
  await server.greet({ expires: 100, heartbeat: 1000 });
  await clock.pass(69);
  equal(server.connection.all("lm.hello").length, 1);
  await clock.pass(1.1);
  const { client: name, ...rest } = server.connection.last("lm.hello").params;
  equal(rest, { protocol: 1, schema: "abc", token: "Token 2" });
  server.connection.answer("lm.hello", { session: "s2", expires: 20 });
  await clock.pass(9);
  equal(server.connection.all("lm.hello").length, 2);
  await clock.pass(1.1);
  equal(server.connection.last("lm.hello").params.token, "Token 3");
  equal([client.state, server.connections.length], ["open", 1]);
  server.connection.refuse("lm.hello", { code: 4003, message: "No." });
  await clock.pass(1);
  await server.greet();
  equal(server.connection.last("lm.hello").params.token, "Token 4", "a refused one is followed by a new connection");
  equal(server.connection.last("lm.hello").params.session, "s2", "which goes on with the renewed session");
});

test("a login that has ended is told, and another token is asked for where there may be one", async (server, clock) => {
  let count = 0;
  for (const token of [undefined, "Token", () => `Token ${++count}`]) {
    const client = make(server, { token });
    const seen = [];
    client.on("expired", (found) => seen.push(found));
    client.connect();
    await server.greet({ expires: 50 });
    const { connection } = server;
    connection.notify("lm.expired", { reason: "token" });
    equal(seen, [{ reason: "token" }]);
    await clock.pass(1);
    equal(connection === server.connection, typeof token !== "function", "the connection stays");
    if (typeof token === "function") await server.greet();
    client.close();
    equal(clock.pending.length, 0, "timers");
  }
  equal(count, 2);
});

test("B58: a server that doesn't come back is tried less and less often", async (server, clock) => {
  const client = make(server);
  client.connect();
  await settle();
  const gaps = [];
  for (let attempt = 0; attempt < 8; attempt++) {
    server.connection.drop();
    await settle();
    gaps.push(clock.pending[0]);
    await clock.pass(clock.pending[0]);
  }
  equal(gaps, [0.5, 1, 2, 4, 8, 15, 15, 15]);
});

test("a connection that held resets the back-off, one that fell at once doesn't", async (server, clock) => {
  const client = make(server);
  client.connect();
  await server.greet();
  for (const wanted of [0.5, 1, 2]) {
    server.connection.drop();
    await settle();
    equal(clock.pending[0], wanted);
    await clock.pass(wanted);
    await server.greet();
  }
  await clock.pass(6);
  server.connection.drop();
  await settle();
  equal(clock.pending[0], 0.5);
});

test("B58: a silent server is noticed by its missing answer to a ping", async (server, clock) => {
  const client = make(server);
  client.connect();
  await server.greet({ heartbeat: 20 });
  await clock.pass(19);
  equal(server.connection.all("lm.ping").length, 0);
  await clock.pass(2);
  equal(server.connection.all("lm.ping").length, 1);
  server.connection.answer("lm.ping");
  await clock.pass(20);
  equal([client.state, server.connection.all("lm.ping").length], ["open", 2]);
  await clock.pass(9.2);
  equal(client.state, "waiting");
  ok(server.connection.closed, "the dead socket is closed");
});

test("any frame shows that the server lives", async (server, clock) => {
  const client = make(server);
  client.connect();
  await server.greet({ heartbeat: 20 });
  await clock.pass(21);
  server.connection.notify("lm.event", { actor: "a.B", key: "1" });
  await clock.pass(15);
  equal(client.state, "open");
});

test("a handshake that hangs is given up", async (server, clock) => {
  const client = make(server);
  client.connect();
  await clock.pass(9);
  equal([client.state, server.connections.length], ["connecting", 1]);
  await clock.pass(2);
  equal(server.connections.length, 2);
});

test("a server that closes gets no new calls, may finish the old ones, and is left alone as long as it asks", async (server, clock) => {
  const client = make(server);
  const old = client.call("old", {});
  await server.greet();
  server.connection.notify("lm.closing", { reason: "shutdown", retry_after: 4 });
  const fresh = watch(client.call("fresh", {}));
  await settle();
  equal(server.connection.all("fresh").length, 0);
  equal(client.state, "open");
  server.connection.answer("old", 1);
  equal(await old, 1);
  equal(client.state, "waiting");
  ok(clock.pending[0] >= 4 && clock.pending[0] <= 6, `the next attempt in ${clock.pending[0]} s`);
  await clock.pass(6);
  await server.greet();
  server.connection.answer("fresh", 2);
  await settle();
  equal(fresh.value, 2);
});

test("an outdated client stops, tells once, and fails its calls", async (server, clock) => {
  const client = make(server, { schema: "old" });
  const told = [];
  client.on("upgrade", (error) => told.push(error.type));
  const failed = failure(client.call("any", {}));
  await settle();
  server.connection.open();
  server.connection.refuse("lm.hello", { code: 4026, message: "Reload.", data: { type: "upgrade_needed", retryable: false } });
  equal((await failed).code, 4026);
  equal((await failure(client.call("later", {}))).code, 4026);
  await clock.pass(600);
  equal([told, client.state, server.connections.length], [["upgrade_needed"], "closed", 1]);
});

test("an outdated client that nobody listens to tells the document", async (server) => {
  if (!globalThis.document) return;
  const client = make(server);
  const told = new Promise((resolve) => document.addEventListener("lightmoon:upgrade", resolve, { once: true }));
  client.connect();
  await settle();
  server.connection.open();
  server.connection.refuse("lm.hello", { code: 4026, message: "Reload.", data: { type: "upgrade_needed", retryable: false } });
  equal((await told).detail.code, 4026);
});

test("a refused handshake fails the waiting calls with its reason, and is tried again", async (server, clock) => {
  const client = make(server);
  const failed = failure(client.call("any", {}));
  await settle();
  server.connection.open();
  server.connection.refuse("lm.hello", { code: 4003, message: "No.", data: { type: "forbidden", retryable: false } });
  equal((await failed).type, "forbidden");
  await clock.pass(1);
  equal(server.connections.length, 2);
});

test("a network that is back is worth an attempt at once", async (server, clock) => {
  if (!globalThis.document) return;
  const client = make(server, { backoff: { base: 30, random: () => 0.9 } });
  client.connect();
  await settle();
  server.connection.drop();
  await settle();
  equal(client.state, "waiting");
  dispatchEvent(new Event("online"));
  await settle();
  equal([client.state, server.connections.length], ["connecting", 2]);
  await server.greet();
  dispatchEvent(new Event("online"));
  equal(server.connection.all("lm.ping").length, 1);
  client.close();
});

test("a closed client refuses calls until it is connected again", async (server) => {
  const client = make(server);
  client.close();
  equal((await failure(client.call("any", {}))).type, "unavailable");
  client.connect();
  const call = client.call("any", {});
  await server.greet();
  server.connection.answer("any", 1);
  equal(await call, 1);
});

test("a frame that is not JSON ends the connection, not the client", async (server, clock) => {
  const client = make(server);
  client.connect();
  await server.greet();
  server.connection.send("<html>");
  equal(client.state, "waiting");
  await clock.pass(1);
  await server.greet();
  equal(client.state, "open");
});

test("a client without a url says what is missing", async (server) => {
  const client = make(server, { url: undefined });
  const quiet = globalThis.reportError;
  const seen = [];
  globalThis.reportError = (error) => seen.push(error.message);
  try {
    ok((await failure(client.call("any", {}))).message.includes("lightmoon_js"), "the message");
  } finally {
    globalThis.reportError = quiet;
  }
  equal(seen.length, 1);
});

test("a client that is closed by who hears of its state stays closed", async (server, clock) => {
  for (const [name, wanted] of [["state", "connecting"], ["state", "open"], ["recovered", true], ["state", "waiting"]]) {
    const client = make(server);
    actor("chat.Room", {})("1", client).on("said", () => {});
    await server.greet();
    const { connection } = server;
    client.on(name, (found) => found === wanted && client.close());
    connection.drop();
    if (wanted !== "waiting") await clock.pass(1);
    if (server.connection !== connection) await server.greet({ recovered: true });
    equal([client.state, clock.pending, server.connection.closed], ["closed", [], true], wanted);
    await clock.pass(100);
    equal(client.state, "closed", wanted);
  }
});

test("what is called by who hears that the connection is open comes after what waited for it", async (server) => {
  const client = make(server);
  client.on("state", (state) => state === "open" && client.call("late", { key: "1" }));
  for (const name of ["a", "b"]) client.call(name, { key: "1" });
  await server.greet();
  equal(server.connection.received.map(({ method }) => method), ["lm.hello", "a", "b", "late"]);
});

test("a closed client has left the page, and a client that is connected again hears of it again", async (server) => {
  if (!globalThis.document) return;
  const listening = new Set();
  const real = [EventTarget.prototype.addEventListener, EventTarget.prototype.removeEventListener];
  EventTarget.prototype.addEventListener = function (name, handler, options) {
    if (["online", "resume", "visibilitychange", "pagehide"].includes(name)) {
      listening.add(handler);
      options?.signal?.addEventListener("abort", () => listening.delete(handler));
    }
    real[0].call(this, name, handler, options);
  };
  EventTarget.prototype.removeEventListener = function (name, handler, options) {
    listening.delete(handler);
    real[1].call(this, name, handler, options);
  };
  try {
    const client = make(server, { backoff: { base: 30, random: () => 0.9 } });
    for (const _ of [1, 2]) {
      client.connect();
      await settle();
      server.connection.drop();
      ok(listening.size > 0, "nobody listens");
      const { length } = server.connections;
      dispatchEvent(new Event("online"));
      await settle();
      equal(server.connections.length, length + 1, "attempts");
      client.close();
      equal(listening.size, 0, "listeners of a closed client");
    }
  } finally {
    [EventTarget.prototype.addEventListener, EventTarget.prototype.removeEventListener] = real;
  }
});
