import { Client, actor } from "/lightmoon/index.js";
import { Upstream } from "/lightmoon/transports/upstream.js";
import { equal, ok, settle, test, watch } from "./harness.js";
import { Http, fallen, make } from "./http.js";

const Room = actor("chat.Room", { say: ["text"] });

test("B58: a WebSocket that fails to open twice is followed by the event stream, that one by polls", async (server, clock) => {
  const http = new Http();
  http.refused.add("sse");
  const client = await fallen(server, clock, http);
  equal(server.connections.length, 2);
  await http.greet();
  equal(client.state, "waiting");
  await clock.pass(5);
  await http.greet();
  equal([client.state, client.transport], ["open", "poll"]);
  equal(http.seen, ["POST rpc", "GET sse", "POST rpc", "GET poll"]);
  client.close();
});

test("with nothing that opens it begins at the top again", async (server, clock) => {
  const http = new Http();
  http.refused.add("rpc");
  const client = await fallen(server, clock, http);
  await clock.pass(12);
  equal([server.connections.length, http.seen], [3, ["POST rpc", "POST rpc"]]);
  client.close();
});

test("a server that refuses the handshake is no reason for another transport", async (server, clock) => {
  const http = new Http();
  const client = make(server, http);
  client.connect();
  await settle();
  for (const _ of [1, 2, 3]) {
    server.connection.open();
    server.connection.refuse("lm.hello", { code: 4003, message: "No.", data: { type: "forbidden", retryable: false } });
    await clock.pass(4);
  }
  equal([server.connections.length, http.seen.length], [4, 0]);
  client.close();
});

test("an event stream counts as open when its first bytes are there, and one that is held up is given up", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet();
  http.stream();
  await clock.pass(7);
  equal(client.state, "connecting");
  await clock.pass(4);
  await http.greet();
  equal(client.transport, "poll", "the next transport");
  client.close();
});

test("over an event stream, calls go by POST with the session, and frames come in order", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  const room = Room("1", client);
  const seen = [];
  await http.greet();
  const stream = http.stream();
  await stream.write(":\n\n");
  equal([client.state, client.transport], ["open", "sse"]);
  room.on("said", (data) => seen.push(data));
  http.last("rpc").answer({ epoch: "a", seq: 0, recovered: false, state: null, events: [] });
  await settle();
  const call = watch(room.say("hi"));
  const post = http.last("rpc");
  equal([post.body.method, post.headers["LightMoon-Session"]], ["chat.Room.say", "t/1:x"]);
  await stream.write('id: 1\ndata: {"jsonrpc":"2.0","method":"lm.event","params":{"actor":"chat.Room","key":"1",');
  await stream.write('"epoch":"a","seq":1,"name":"said","data":1}}\n\n:\n\n');
  equal(seen, [1]);
  post.answer("done", { "LightMoon-Cursor": "2" });
  await settle();
  equal(call.state, "pending", "the answer, before the message that it stands behind");
  await stream.event(2, { method: "lm.event", params: { actor: "chat.Room", key: "1", epoch: "a", seq: 2, name: "said", data: 2 } });
  equal([seen, call.value], [[1, 2], "done"]);
  client.close();
});

test("an answer whose messages were dropped is not held back for ever", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet();
  const stream = http.stream();
  await stream.write(":\n\n");
  const [call, other] = [watch(client.call("a.B.c", { key: "1" })), watch(client.call("a.B.c", { key: "2" }))];
  await settle();
  for (const request of [...http.open]) if (request.path === "rpc") request.answer(request.body.params.key, { "LightMoon-Cursor": "9" });
  await settle();
  equal(call.state, "pending");
  await stream.event(1, { method: "lm.reset", params: { actor: "a.B", key: "1", reason: "overflow" } });
  equal([call.value, other.value], ["1", "2"]);
  const last = watch(client.call("a.B.c", { key: "3" }));
  await settle();
  http.last("rpc").answer("3", { "LightMoon-Cursor": "9" });
  await settle();
  await stream.end();
  equal(last.value, "3", "what had come when the line broke");
  client.close();
});

test("B56: a broken event stream goes on with its session and cursor", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  const told = [];
  client.on("recovered", (recovered) => told.push(recovered));
  await http.greet();
  const stream = http.stream();
  await stream.event(7, { method: "lm.event", params: {} });
  await stream.end();
  equal(client.state, "waiting");
  await clock.pass(2);
  equal(http.last("rpc").body.params.session, "t/1:x");
  await http.greet({ recovered: true });
  equal(http.last("sse").query, { session: "t/1:x", cursor: "7" });
  await http.stream().write(":\n\n");
  equal([client.state, told], ["open", [true]]);
  client.close();
});

test("B58: an event stream that falls silent is noticed by its missing signs of life", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet({ heartbeat: 20 });
  const stream = http.stream();
  await stream.write(":\n\n");
  await clock.pass(25);
  await stream.write(":\n\n");
  await clock.pass(25);
  equal(client.state, "open");
  await clock.pass(6);
  ok(client.state !== "open", "still open");
  client.close();
});

test("a machine that slept longer than the server may be silent starts anew at once when it wakes up", async (server, clock) => {
  if (!globalThis.document) return; // only pages hear of it
  const http = new Http();
  const client = await fallen(server, clock, http);
  await http.greet({ heartbeat: 20 });
  await http.stream().write(":\n\n");
  clock.sleep(25);
  document.dispatchEvent(new Event("resume"));
  equal(client.state, "open", "what it may still hear of");
  clock.sleep(10);
  document.dispatchEvent(new Event("resume"));
  ok(client.state !== "open", "still open");
  client.close();
});

test("polls follow each other with the cursor of the last one", async (server) => {
  const http = new Http();
  const client = make(server, http, { transports: ["poll"], token: "Token x", csrf: () => "c" });
  const room = Room("1", client);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  await settle();
  equal(http.last("rpc").headers["X-CSRFToken"], "c");
  equal([http.last("rpc").headers.Authorization, http.last("rpc").body.params.token], ["Token x", undefined]);
  await http.greet();
  http.last("rpc").answer({ epoch: "a", seq: 0, recovered: false, state: null, events: [] });
  await settle();
  equal(http.last("poll").query, { session: "t/1:x", cursor: "0" });
  const params = { actor: "chat.Room", key: "1", epoch: "a", seq: 1, name: "said", data: 1 };
  http.last("poll").respond(JSON.stringify({ messages: [{ jsonrpc: "2.0", method: "lm.event", params }], cursor: "5" }));
  await settle();
  equal([seen, http.last("poll").query.cursor], [[1], "5"]);
  client.close();
  equal([http.seen.at(-1), http.last("rpc").headers["LightMoon-Session"]], ["DELETE rpc", "t/1:x"]);
});

test("a better transport is tried later, beside the one there is, and takes the session over", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  const states = [];
  await http.greet();
  const stream = http.stream();
  await stream.write(":\n\n");
  const call = watch(client.call("a.B.slow", { key: "1" }));
  client.on("state", (state) => states.push(state));
  for (const seconds of [25, 25, 25, 16]) {
    equal(server.connections.length, 2);
    await clock.pass(seconds);
    await stream.write(":\n\n");
  }
  equal(server.connections.length, 3);
  await server.greet({ session: "t/1:x", recovered: true });
  equal([client.transport, server.connection.last("lm.hello").params.session], ["websocket", "t/1:x"]);
  equal(http.open, [], "what the other transport had under way");
  server.connection.answer("a.B.slow", 3);
  await settle();
  equal([call.value, states], [3, []]);
  client.close();
});

test("messages to one actor wait for each other, others don't", async () => {
  const sent = [];
  const upstream = new Upstream((body) => new Promise((answered) => sent.push({ body, answered })));
  for (const [frame, lane] of [["1", "a"], ["2", "a"], ["3", "a"], ["4", "b"], ["5", undefined]]) upstream.send(frame, lane);
  equal(sent.map(({ body }) => body), ["1", "4", "5"]);
  sent[0].answered(true);
  await settle();
  equal(sent.at(-1).body, "[2,3]");
  sent.at(-1).answered(true);
  await settle();
  upstream.send("6", "a");
  equal(sent.at(-1).body, "6");
});

test("a server that has too much to do is not tried again before it says so, nor by another transport", async (server, clock) => {
  const http = new Http();
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, fetch: http.fetch, transports: ["websocket", "sse"], backoff: { random: () => 0 } });
  client.connect();
  await settle();
  for (let attempt = 1; attempt <= 4; attempt++) {
    equal(server.connections.length, attempt);
    server.connection.open();
    server.connection.notify("lm.closing", { reason: "overloaded", retry_after: 7 });
    await clock.pass(6.9);
    equal(server.connections.length, attempt);
    await clock.pass(0.1);
  }
  equal(http.seen, []);
  client.close();
});

test("over HTTP it says so by a status", async (server, clock) => {
  const http = new Http();
  const client = new Client({ url: "ws://test/ws", fetch: http.fetch, transports: ["sse"], backoff: { random: () => 0 } });
  client.connect();
  await settle();
  http.last("rpc").respond("{}", { "Retry-After": "7" }, 429);
  await clock.pass(6.9);
  equal(http.seen.length, 1);
  await clock.pass(0.2);
  await http.greet();
  http.last("sse").respond("{}", { "Retry-After": "9" }, 429);
  await clock.pass(8.9);
  equal(http.seen.length, 3);
  await clock.pass(0.2);
  equal(http.seen.length, 4);
  client.close();
});

test("a better transport whose server is full leaves the one there is alone", async (server, clock) => {
  const http = new Http();
  const client = await fallen(server, clock, http);
  const states = [];
  await http.greet({ heartbeat: 100 });
  await http.stream().write(":\n\n");
  client.on("state", (state) => states.push(state));
  await clock.pass(91);
  equal(server.connections.length, 3);
  server.connection.open();
  server.connection.notify("lm.closing", { reason: "overloaded", retry_after: 7 });
  server.connection.drop();
  await clock.pass(1);
  equal([client.state, client.transport, states], ["open", "sse", []]);
  const call = watch(client.call("a.B.c", { key: "1" }));
  await settle();
  http.last("rpc").answer(3);
  await settle();
  equal(call.value, 3);
  client.close();
});
