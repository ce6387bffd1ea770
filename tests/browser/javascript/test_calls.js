import { Client, LightMoonError } from "/lightmoon/index.js";
import { equal, failure, ok, settle, test, watch } from "./harness.js";

const make = (server, options = {}) => new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], ...options });

test("a call resolves with its result and has a string id of its own", async (server) => {
  const client = make(server);
  const first = client.call("a.B.c", { key: "1" });
  const second = client.call("a.B.d", { key: "1" });
  await server.greet();
  const [one, two] = [server.connection.last("a.B.c"), server.connection.last("a.B.d")];
  equal([one.jsonrpc, one.params], ["2.0", { key: "1" }]);
  ok(typeof one.id === "string" && one.id !== two.id, `ids ${one.id} and ${two.id}`);
  server.connection.answer("a.B.d", 2);
  server.connection.answer("a.B.c", 1);
  equal(await Promise.all([first, second]), [1, 2]);
});

test("calls made before there is a connection are sent in order once the server greets", async (server) => {
  const client = make(server);
  for (const name of ["a", "b", "c"]) client.call(name, []);
  await settle();
  server.connection.open();
  equal(server.connection.received.map(({ method }) => method), ["lm.hello"]);
  server.connection.answer("lm.hello", { heartbeat: 25 });
  equal(server.connection.received.map(({ method }) => method), ["lm.hello", "a", "b", "c"]);
});

test("an error arrives with its code, type, data and whether it may be tried again", async (server) => {
  const client = make(server);
  const failed = failure(client.call("bid", {}));
  await server.greet();
  const data = { type: "too_low", retryable: false, detail: { price: 7 }, path: "$.amount", retry_after: 2 };
  server.connection.refuse("bid", { code: 4001, message: "Too low.", data });
  const error = await failed;
  ok(error instanceof LightMoonError && error instanceof Error, "its class");
  equal([error.message, error.code, error.type, error.retryable], ["Too low.", 4001, "too_low", false]);
  equal([error.data, error.path, error.retryAfter], [{ price: 7 }, "$.amount", 2]);
});

test("B57: a call in flight when the session is lost ends as outcome_unknown, one that was not sent goes on", async (server, clock) => {
  const client = make(server);
  const sent = failure(client.call("sent", {}));
  await server.greet();
  server.connection.drop();
  const waiting = watch(client.call("waiting", {}));
  await clock.pass(1);
  await server.greet({ recovered: false });
  const error = await sent;
  equal([error.type, error.code, error.retryable], ["outcome_unknown", 4008, false]);
  equal(server.connections.length, 2);
  equal(server.connection.all("sent").length, 0, "sent again");
  server.connection.answer("waiting", 5);
  await settle();
  equal(waiting, { state: "resolved", value: 5 });
});

test("B57: a call in flight is sent again to a session that goes on, and resolves once", async (server, clock) => {
  const client = make(server);
  const call = watch(client.call("sent", { key: "1" }));
  await server.greet();
  const first = server.connection.last("sent");
  server.connection.drop();
  await clock.pass(1);
  equal(call.state, "pending");
  await server.greet({ recovered: true });
  equal(server.connection.last("lm.hello").params.session, "s");
  equal(server.connection.all("sent"), [first], "the same id and params");
  server.connection.answer("sent", 7);
  server.connection.answer("sent", 8); // the first copy's answer waited too
  await settle();
  equal(call, { state: "resolved", value: 7 });
});

test("B57: without a session to come back to, a call in flight ends at once", async (server) => {
  const client = make(server);
  const sent = failure(client.call("sent", {}));
  await server.greet({ session: null });
  server.connection.drop();
  equal((await sent).type, "outcome_unknown");
});

test("B57: a call in flight ends when no connection comes for too long", async (server, clock) => {
  const client = make(server, { timeout: 5 });
  const call = watch(client.call("sent", {}));
  await server.greet();
  server.connection.drop();
  await clock.pass(4);
  equal(call.state, "pending");
  await clock.pass(2);
  equal(call.error.type, "outcome_unknown");
});

test("B57: a call that is aborted while its connection is lost has an unknown outcome", async (server) => {
  const client = make(server);
  const abort = new AbortController();
  const sent = failure(client.call("sent", {}, { signal: abort.signal }));
  await server.greet();
  server.connection.drop();
  abort.abort("enough");
  const error = await sent;
  equal([error.type, error.cause], ["outcome_unknown", "enough"]);
});

test("a call that can't be sent for too long says so, and that nothing happened", async (server, clock) => {
  const client = make(server, { timeout: 30 });
  const waiting = watch(client.call("never", {}));
  await clock.pass(29);
  equal(waiting.state, "pending");
  await clock.pass(2);
  equal([waiting.error.type, waiting.error.retryable], ["unavailable", true]);
});

test("a call aborted before it is sent is never sent", async (server) => {
  const client = make(server);
  const abort = new AbortController();
  const failed = failure(client.call("slow", {}, { signal: abort.signal }));
  abort.abort("changed my mind");
  const error = await failed;
  equal([error.type, error.code, error.cause], ["cancelled", -32800, "changed my mind"]);
  equal((await failure(client.call("late", {}, { signal: abort.signal }))).type, "cancelled");
  await server.greet();
  equal(server.connection.received.length, 1, "messages besides hello");
});

test("a call aborted in flight asks the server to cancel, and ends as the server says", async (server) => {
  const client = make(server);
  const [abort, tooLate] = [new AbortController(), new AbortController()];
  const cancelled = failure(client.call("slow", {}, { signal: abort.signal }));
  const done = client.call("quick", {}, { signal: tooLate.signal });
  await server.greet();
  abort.abort();
  equal(server.connection.last("$/cancelRequest").params, { id: server.connection.last("slow").id });
  ok(!("id" in server.connection.last("$/cancelRequest")), "it is a notification");
  tooLate.abort();
  server.connection.refuse("slow", { code: -32800, message: "Cancelled.", data: { type: "cancelled", retryable: false } });
  server.connection.answer("quick", "committed");
  equal((await cancelled).type, "cancelled");
  equal(await done, "committed");
});

test("a call larger than the server reads is refused here: the server could not say which one it was", async (server) => {
  const client = make(server);
  const failed = failure(client.call("large", { text: "\u00e9".repeat(60) }));
  const good = client.call("good", {});
  await server.greet({ limits: { request_bytes: 150 } });
  const error = await failed;
  equal([error.code, error.type, error.retryable], [4013, "too_large", false]);
  server.connection.answer("good", 1);
  equal(await good, 1);
});

test("arguments are taken when the call is made", async (server) => {
  const client = make(server);
  const list = [1];
  client.call("keep", { list });
  list.push(2);
  await server.greet();
  equal(server.connection.last("keep").params, { list: [1] });
});

test("what JSON can't carry rejects and hurts nothing else", async (server) => {
  const client = make(server);
  ok((await failure(client.call("big", { n: 1n }))) instanceof TypeError, "a TypeError");
  const good = client.call("good", {});
  await server.greet();
  server.connection.answer("good", 1);
  equal(await good, 1);
});

const no = { code: 4003, message: "No.", data: { type: "forbidden", retryable: false } };
const ends = {
  "is closed": (server, client) => client.close(),
  "is refused": async (server, client, clock) => {
    server.connection.drop();
    await clock.pass(1);
    server.connection.open();
    server.connection.refuse("lm.hello", no);
  },
  "is outdated": async (server, client, clock) => {
    client.on("upgrade", () => {});
    server.connection.drop();
    await clock.pass(1);
    server.connection.open();
    server.connection.refuse("lm.hello", { ...no, code: 4026, data: { type: "upgrade_needed", retryable: false } });
  },
};
for (const [how, end] of Object.entries(ends)) {
  test(`B57: a client that ${how} doesn't say of a call that it was sent: nothing happened`, async (server, clock) => {
    const client = make(server, { backoff: { random: () => 0.5 } });
    const sent = failure(client.call("sent", {}));
    await server.greet();
    await end(server, client, clock);
    const error = await sent;
    equal([error.type, error.retryable], ["outcome_unknown", false]);
    ok(error.cause instanceof LightMoonError, "why");
    client.close();
  });
}
