import { actor } from "/lightmoon/index.js";
import { Upstream } from "/lightmoon/transports/upstream.js";
import { equal, ok, settle, test, watch } from "./harness.js";
import { Http, fallen, make } from "./http.js";

const Room = actor("chat.Room", { say: ["text"] });

/** A room that is joined over an event stream, whose subscription is not answered yet. */
async function joining(server, clock) {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet();
  const stream = http.stream();
  await stream.write(":\n\n");
  const room = Room("1", client);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  room.on("reset", ({ reason }) => seen.push(reason));
  await settle();
  const answer = (found) => {
    http.last("rpc").answer({ epoch: "a", seq: 0, recovered: false, state: null, events: [], ...found }, { "LightMoon-Cursor": "0" });
    return settle();
  };
  const say = (id, seq) => stream.event(id, { method: "lm.event", params: { actor: "chat.Room", key: "1", epoch: "a", seq, name: "said", data: seq } });
  return { client, http, stream, seen, answer, say };
}

test("B55: events that overtake the answer to the subscription are seen once each", async (server, clock) => {
  const { client, seen, answer, say } = await joining(server, clock);
  for (const seq of [1, 2, 3]) await say(seq, seq);
  await answer({ seq: 1 });
  equal(seen, [2, 3]);
  await say(4, 4);
  equal(seen, [2, 3, 4]);
  client.close();
});

test("B55: a reset that overtakes the answer to the subscription is no silent end", async (server, clock) => {
  const { client, http, stream, seen, answer } = await joining(server, clock);
  await stream.event(1, { method: "lm.reset", params: { actor: "chat.Room", key: "1", reason: "moved" } });
  await answer();
  await clock.pass(1);
  equal(http.last("rpc").body.params.since, { epoch: "a", seq: 0 });
  await answer({ epoch: "b" });
  equal(seen, ["moved"]);
  client.close();
});

test("messages that wait for each other go together as far as the server reads them", async () => {
  const sent = [];
  const upstream = new Upstream((body) => new Promise((answered) => sent.push({ body, answered })));
  upstream.limit = 60;
  const frames = ["12345678", "12345678", "12345678", `"${"é".repeat(20)}"`, "12345678"];
  for (const frame of ["0", ...frames]) upstream.send(frame, "a");
  const bodies = [];
  while (sent.length) {
    const { body, answered } = sent.shift();
    bodies.push(body);
    answered(true);
    await settle();
  }
  ok(bodies.every((body) => new TextEncoder().encode(body).length <= 60), `${bodies}`);
  equal(bodies.flatMap((body) => (body.startsWith("[") ? body.slice(1, -1).split(",") : [body])), ["0", ...frames]);
  ok(bodies.length <= 5, "all alone");
});

test("B21: calls that are too large for a proxy on the way end, and others go on", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet();
  await http.stream().write(":\n\n");
  const [first, large, small] = ["a", "x".repeat(1000), "b"].map((text) => watch(client.call("a.B.c", { key: "1", text })));
  await settle();
  http.last("rpc").answer(1);
  await settle();
  for (const size of [2, 1, 1]) {
    const { body } = http.last("rpc");
    equal([body].flat().length, size);
    if (JSON.stringify(body).length > 1000) http.last("rpc").respond("<html>", {}, 413);
    else http.last("rpc").answer(2);
    await settle();
  }
  equal([first.value, large.error?.type, small.value], [1, "too_large", 2]);
  equal(client.state, "open");
  client.close();
});

for (const way of ["sse", "poll"]) {
  test(`B42: over ${way}, calls under way are answered by a server that closes`, async (server, clock) => {
    const http = new Http();
    const client = make(server, http, { transports: [way] });
    client.connect();
    await http.greet();
    const closing = { method: "lm.closing", params: { reason: "shutdown", retry_after: 4 } };
    const stream = way === "sse" && http.stream();
    if (stream) await stream.write(":\n\n");
    const calls = ["1", "2"].map((key) => watch(client.call("a.B.c", { key })));
    await settle();
    const [one, other] = http.open.filter(({ path }) => path === "rpc");
    if (stream) {
      await stream.event(1, closing);
      await stream.end();
    } else {
      http.last("poll").respond(JSON.stringify({ messages: [{ jsonrpc: "2.0", ...closing }], cursor: "1" }));
      await settle();
      http.last("poll").respond("{}", {}, 503);
      await settle();
    }
    const late = watch(client.call("a.B.c", { key: "3" }));
    one.answer(1);
    await settle();
    equal([calls[0].value, calls[1].state, client.state], [1, "pending", "open"]);
    other.answer(2, { "LightMoon-Cursor": "7" }); // behind a message that nobody fetches any more
    await settle();
    equal([calls[1].value, late.state, client.state], [2, "pending", "waiting"]);
    ok(clock.pending.some((seconds) => seconds >= 4 && seconds <= 6), `the next attempt in ${clock.pending} s`);
    client.close();
  });
}

test("B51: a call that is aborted while it waits for another one's answer is never sent", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet();
  await http.stream().write(":\n\n");
  const abort = new AbortController();
  const first = watch(client.call("a.B.c", { key: "1" }));
  const second = watch(client.call("a.B.d", { key: "1" }, { signal: abort.signal }));
  await settle();
  abort.abort();
  await settle();
  equal(second.error?.type, "cancelled");
  http.last("rpc").answer(1);
  await settle();
  equal(first.value, 1);
  equal(http.open.filter(({ path }) => path === "rpc"), [], "what was sent besides");
  client.close();
});

test("B62: an answer is held back from the first one on that comes over an event stream in a WebSocket's place", async (server, clock) => {
  const http = new Http();
  const client = make(server, http);
  const room = Room("1", client);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  await server.greet({ session: "t/1:x" });
  server.connection.answer("lm.subscribe", { epoch: "a", seq: 0, recovered: false, state: null, events: [] });
  for (const seconds of [2, 2, 4]) {
    server.connection.drop();
    await clock.pass(seconds);
  }
  await http.greet({ recovered: true, cursor: "5" });
  equal(http.last("sse").query, { session: "t/1:x", cursor: "5" });
  const stream = http.stream();
  await stream.write(":\n\n");
  http.last("rpc").answer({ epoch: "a", seq: 0, recovered: true, state: null, events: [] }, { "LightMoon-Cursor": "5" });
  await settle();
  const call = room.say("hi").then(() => seen.push("answered"));
  await settle();
  http.last("rpc").answer(1, { "LightMoon-Cursor": "6" });
  await settle();
  equal(seen, []);
  await stream.event(6, { method: "lm.event", params: { actor: "chat.Room", key: "1", epoch: "a", seq: 1, name: "said", data: 1 } });
  await call;
  equal(seen, [1, "answered"]);
  client.close();
});

test("an update stays shown until the state of its call, which overtook the answer to the subscription, is taken", async (server, clock) => {
  const http = new Http();
  const client = make(server, http, { transports: ["sse"] });
  const room = Room("1", client);
  const seen = [];
  room.subscribe((state) => seen.push(state?.n));
  await http.greet();
  let stream = http.stream();
  await stream.write(":\n\n");
  http.last("rpc").answer({ epoch: "a", seq: 0, recovered: false, state: { n: 0 }, events: [] });
  await settle();
  await stream.event(1, { method: "lm.reset", params: { actor: "chat.Room", key: "1", reason: "moved" } });
  room.optimistic(() => ({ n: 5 }), () => room.say("hi"));
  await settle();
  const { body, answer } = http.last("rpc");
  await clock.pass(1);
  answer(null, { "LightMoon-Cursor": "2" });
  const params = { actor: "chat.Room", key: "1", epoch: "a", seq: 1, set: { n: 5 }, mark: body.mark };
  await stream.event(2, { method: "lm.state", params });
  http.last("rpc").answer({ epoch: "a", seq: 0, recovered: true, state: null, events: [] }, { "LightMoon-Cursor": "1" });
  await settle();
  equal(seen, [undefined, 0, 5, 5]);
  client.close();
});
