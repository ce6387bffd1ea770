import { Client, actor } from "/lightmoon/index.js";
import { Upstream } from "/lightmoon/transports/upstream.js";
import { equal, ok, settle, test, watch } from "./harness.js";

const Room = actor("chat.Room", { say: ["text"] });

/** The HTTP side of the server that the tests play: requests wait in `open` until they are answered. */
class Http {
  open = [];
  seen = [];
  refused = new Set(); // paths

  fetch = (url, { method = "GET", body, headers = {}, signal }) => {
    const { pathname, searchParams } = new URL(url);
    const path = pathname.split("/").at(-1);
    this.seen.push(`${method} ${path}`);
    if (this.refused.has(path)) return Promise.reject(new TypeError("network"));
    return new Promise((resolve, reject) => {
      const request = { path, body: body && JSON.parse(body), headers, query: Object.fromEntries(searchParams) };
      request.respond = (value, given = {}, status = 200) => {
        this.open.splice(this.open.indexOf(request), 1);
        resolve(new Response(status === 204 ? null : value, { status, headers: given }));
      };
      request.answer = (result, given) =>
        request.respond(JSON.stringify({ jsonrpc: "2.0", id: request.body.id, result }), given);
      signal?.addEventListener("abort", () => {
        this.open = this.open.filter((one) => one !== request);
        reject(signal.reason);
      });
      this.open.push(request);
    });
  };

  last(path) {
    const found = this.open.filter((request) => request.path === path).at(-1);
    ok(found, `No request to ${path} is open. There were: ${this.seen}`);
    return found;
  }

  async greet(hello = {}) {
    await settle();
    this.last("rpc").answer({ session: "t/1:x", heartbeat: 25, recovered: false, ...hello });
    await settle();
  }

  /** Answer the event stream's request with a body that the test writes. */
  stream() {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    this.last("sse").respond(readable);
    const write = (text) => writer.write(new TextEncoder().encode(text)).then(settle).then(settle);
    return {
      write,
      event: (id, message) => write(`id: ${id}\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`),
      end: () => writer.close().then(settle),
    };
  }
}

function make(server, http, options = {}) {
  const { fetch } = http;
  return new Client({
    url: "http://test/lightmoon/ws", WebSocket: server.WebSocket, fetch, backoff: { random: () => 0.5 }, ...options,
  });
}

/** A client whose WebSocket fails twice, so that it speaks over an event stream. */
async function fallen(server, clock, http) {
  const client = make(server, http);
  client.connect();
  await settle();
  for (const _ of [1, 2]) {
    server.connection.drop();
    await clock.pass(2);
  }
  return client;
}

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
