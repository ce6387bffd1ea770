import { Client, actor } from "/lightmoon/index.js";
import { equal, ok, settle, test } from "./harness.js";

const Room = actor("chat.Room", { say: ["text"] });
const names = { actor: "chat.Room", key: "1" };

function make(server) {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  return Room("1", client);
}

async function joined(server, found = {}) {
  server.connection.answer("lm.subscribe", { epoch: "a", seq: 0, recovered: false, state: { n: 0 }, events: [], ...found });
  await settle();
}

function said(server, seq, data = seq, epoch = "a") {
  server.connection.notify("lm.event", { ...names, epoch, seq, name: "said", data });
}

test("the first handler subscribes, the last one to go unsubscribes", async (server) => {
  const room = make(server);
  const offs = [room.on("said", () => {}), room.on("said", () => {}), room.subscribe(() => {})];
  await server.greet();
  equal(server.connection.all("lm.subscribe").map(({ params }) => params), [names]);
  await joined(server);
  offs[0]();
  offs[0]();
  offs[1]();
  await settle();
  equal(server.connection.all("lm.unsubscribe").length, 0);
  offs[2]();
  const again = room.on("said", () => {});
  await settle();
  equal(server.connection.received.length, 2, "who subscribes again in the same breath stays");
  again();
  await settle();
  equal(server.connection.last("lm.unsubscribe").params, names);
  equal(room.state, undefined);
});

test("events come in order with their data, and a handler that throws stops no other", async (server) => {
  const room = make(server);
  const reported = [];
  const quiet = globalThis.reportError;
  globalThis.reportError = (error) => reported.push(error.message);
  try {
    const seen = [];
    room.on("said", () => {
      throw new Error("mine");
    });
    room.on("said", (data, meta) => seen.push([data, meta.seq, meta.epoch, meta.name]));
    await server.greet();
    server.connection.answer("lm.subscribe", { epoch: "a", seq: 4, state: null });
    said(server, 5, { text: "x" }); // at once after the answer
    said(server, 6, { text: "y" });
    equal(seen, [[{ text: "x" }, 5, "a", "said"], [{ text: "y" }, 6, "a", "said"]]);
    equal(reported, ["mine", "mine"]);
  } finally {
    globalThis.reportError = quiet;
  }
});

test("the state is a snapshot that is replaced by each patch and told to listeners", async (server) => {
  const room = make(server);
  const { subscribe, getSnapshot } = room; // unbound, as stores are used
  const seen = [];
  subscribe((state) => seen.push(state));
  equal(room.state, undefined);
  await server.greet();
  await joined(server, { state: { title: "A", count: 1, old: 1 } });
  const before = getSnapshot();
  server.connection.notify("lm.state", { ...names, epoch: "a", seq: 1, set: { count: 2 }, unset: ["old"] });
  equal(before, { title: "A", count: 1, old: 1 });
  equal(room.state, { title: "A", count: 2 });
  ok(getSnapshot() === room.state, "the same object until the next change");
  equal(seen, [undefined, before, room.state], "told at once, as Svelte's stores do");
});

test("B55: what was seen is dropped, and a gap is never silent", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  room.on("reset", (reset) => seen.push(reset));
  await server.greet();
  await joined(server, { seq: 7 });
  for (const seq of [6, 7, 8, 8, 9]) said(server, seq);
  said(server, 100, "older epoch", "Z");
  equal(seen, [8, 9]);
  said(server, 11);
  said(server, 12);
  await clock.pass(1);
  equal(server.connection.all("lm.subscribe").length, 2);
  said(server, 13);
  await joined(server, { seq: 13, state: { n: 13 } });
  said(server, 14);
  equal(seen, [8, 9, { reason: "gap", state: { n: 13 } }, 14]);
});

test("a frame that isn't meant for this client only moves the position", async (server) => {
  const room = make(server);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  await server.greet();
  await joined(server);
  server.connection.notify("lm.skip", { ...names, epoch: "a", seq: 1 });
  said(server, 2);
  equal(seen, [2]);
});

test("B58: after a reconnection streams are subscribed anew, and their handlers are told", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  room.on("reset", ({ reason, state }) => seen.push([reason, state, room.state]));
  await server.greet();
  await joined(server);
  equal(seen, [], "nothing was missed at first");
  said(server, 1);
  server.connection.drop();
  equal(room.state, { n: 0 }, "the last state is kept meanwhile");
  await clock.pass(1);
  await server.greet();
  equal(server.connection.last("lm.subscribe").params, { ...names, since: { epoch: "a", seq: 1 } });
  await joined(server, { epoch: "b", state: { n: 5 } });
  said(server, 1, "b1", "b");
  equal(seen, [1, ["reconnected", { n: 5 }, { n: 5 }], "b1"]);
});

test("B56: a stream that goes on from its position gets what it missed once each, and isn't reset", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  room.on("reset", (reset) => seen.push(reset));
  room.subscribe((state) => seen.push(state));
  await server.greet();
  await joined(server);
  said(server, 1);
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  said(server, 2, "waited, and comes again below");
  const events = [
    { ...names, epoch: "a", seq: 2, name: "said", data: 2 },
    { ...names, epoch: "a", seq: 3, set: { n: 3 }, unset: [] },
  ];
  await joined(server, { seq: 3, recovered: true, state: null, events });
  said(server, 3, "seen");
  said(server, 4);
  equal(seen, [undefined, { n: 0 }, 1, 2, { n: 3 }, 4]);
  equal(room.state, { n: 3 });
});

test("B55, B56: a gap is filled from the position before it", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("said", (data) => seen.push(data));
  room.on("reset", (reset) => seen.push(reset));
  await server.greet();
  await joined(server);
  said(server, 1);
  said(server, 3);
  await clock.pass(1);
  equal(server.connection.last("lm.subscribe").params.since, { epoch: "a", seq: 1 });
  const missed = [2, 3].map((seq) => ({ ...names, epoch: "a", seq, name: "said", data: seq }));
  await joined(server, { seq: 3, recovered: true, state: null, events: missed });
  equal(seen, [1, 2, 3]);
});

test("B56: the application is told whether the session was recovered", async (server, clock) => {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  const told = [];
  client.on("recovered", (recovered) => told.push(recovered));
  client.connect();
  await server.greet();
  for (const recovered of [true, false]) {
    server.connection.drop();
    await clock.pass(2);
    await server.greet({ recovered });
  }
  equal(told, [true, false]);
});

test("a connection that breaks before the first snapshot resets nothing", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("reset", (reset) => seen.push(reset));
  await server.greet();
  server.connection.drop();
  await clock.pass(1);
  await server.greet();
  await joined(server);
  equal(seen, []);
  equal(room.state, { n: 0 });
});

test("B59: a reset by the server leads to a fresh subscription", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("reset", (reset) => seen.push(reset));
  await server.greet();
  await joined(server);
  server.connection.notify("lm.reset", { ...names, reason: "overflow" });
  await clock.pass(1);
  await joined(server, { epoch: "b", state: { n: 9 } });
  equal(seen, [{ reason: "overflow", state: { n: 9 } }]);
});

test("B60: a permission that is withdrawn ends the stream and its state", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.on("reset", ({ reason, state }) => seen.push([reason, state]));
  room.subscribe((state) => seen.push(state));
  await server.greet();
  await joined(server);
  server.connection.notify("lm.reset", { ...names, reason: "forbidden" });
  await clock.pass(20);
  equal(seen, [undefined, { n: 0 }, undefined, ["forbidden", undefined]]);
  equal(server.connection.all("lm.subscribe").length, 1);
  room.on("said", () => {}); // whoever asks anew may try anew
  equal(server.connection.all("lm.subscribe").length, 2);
});

test("a subscription that is refused is told to the error handlers, and to the console without any", async (server) => {
  const room = make(server);
  const seen = [];
  const quiet = globalThis.reportError;
  globalThis.reportError = (error) => seen.push(["reported", error.type]);
  try {
    const off = room.on("error", (error) => seen.push(["told", error.type]));
    await server.greet();
    const refusal = { code: 4004, message: "None.", data: { type: "not_found", retryable: false } };
    server.connection.refuse("lm.subscribe", refusal);
    off();
    room.on("said", () => {});
    server.connection.refuse("lm.subscribe", refusal);
  } finally {
    globalThis.reportError = quiet;
  }
  equal(seen, [["told", "not_found"], ["reported", "not_found"]]);
});

test("a subscription that may be tried again is, when the server says", async (server, clock) => {
  const room = make(server);
  room.on("said", () => {});
  await server.greet();
  const busy = { code: 4029, message: "Busy.", data: { type: "overloaded", retryable: true, retry_after: 3 } };
  server.connection.refuse("lm.subscribe", busy);
  await clock.pass(2.9);
  equal(server.connection.all("lm.subscribe").length, 1);
  await clock.pass(2);
  equal(server.connection.all("lm.subscribe").length, 2);
});

test("an answer to a subscription that was given up counts for nothing", async (server) => {
  const room = make(server);
  const off = room.subscribe(() => {});
  await server.greet();
  off();
  await settle();
  await joined(server);
  equal(room.state, undefined);
  equal(server.connection.all("lm.unsubscribe").length, 1);
});

test("where users see different things, who comes back gets the events and what it sees now", async (server, clock) => {
  const room = make(server);
  const seen = [];
  room.subscribe((state) => seen.push(state));
  room.on("said", (data) => seen.push(data));
  await server.greet();
  await joined(server, { state: { hand: ["A"], old: 1 } });
  server.connection.notify("lm.skip", { ...names, epoch: "a", seq: 1 });
  said(server, 2);
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  equal(server.connection.last("lm.subscribe").params.since, { epoch: "a", seq: 2 });
  const events = [{ ...names, epoch: "a", seq: 3 }, { ...names, epoch: "a", seq: 4, name: "said", data: 4 }];
  server.connection.answer("lm.subscribe", { epoch: "a", seq: 4, recovered: true, state: { hand: ["B"] }, events });
  await settle();
  said(server, 5);
  equal(seen, [undefined, { hand: ["A"], old: 1 }, 2, 4, { hand: ["B"] }, 5]);
});

test("proxies of one actor share its stream, whatever they were made by and whenever", async (server) => {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"] });
  const [one, other] = [Room("1", client), actor("chat.Room", {})("1", client)];
  const seen = [];
  one.on("said", (data) => seen.push(["one", data]));
  const off = other.on("said", (data) => seen.push(["other", data]));
  await server.greet();
  equal(server.connection.all("lm.subscribe").length, 1);
  await joined(server);
  said(server, 1);
  off();
  await settle();
  said(server, 2);
  equal(seen, [["one", 1], ["other", 1], ["one", 2]]);
  equal(other.state, { n: 0 });
});

test("who is left while the connection is lost, or shortly before, is left when the session goes on", async (server, clock) => {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  const offs = Object.fromEntries(["before", "while", "again", "kept"].map((key) => [key, Room(key, client).on("said", () => {})]));
  await server.greet();
  offs.before(); // the server's line is dead already
  await settle();
  server.connection.drop();
  offs.while();
  offs.again();
  await settle();
  Room("again", client).on("said", () => {});
  await clock.pass(1);
  await server.greet({ recovered: true });
  const sent = (method) => server.connection.all(method).map(({ params }) => params.key);
  equal([sent("lm.unsubscribe"), sent("lm.subscribe").sort()], [["before", "while"], ["again", "kept"]]);
  for (const { id } of server.connection.all("lm.unsubscribe")) server.connection.send({ id, result: null });
  for (const recovered of [true, false]) {
    offs.kept();
    await settle();
    server.connection.drop();
    await clock.pass(3);
    await server.greet({ recovered });
    equal(sent("lm.unsubscribe"), recovered ? ["kept"] : [], "a new session follows nothing");
  }
});

test("a stream that is left before it is joined again is left at the server", async (server) => {
  const room = make(server);
  const off = room.on("said", () => {});
  await server.greet();
  await joined(server);
  said(server, 2); // a gap: the server doesn't know that it is one
  off();
  await settle();
  equal(server.connection.all("lm.unsubscribe").length, 1);
});
