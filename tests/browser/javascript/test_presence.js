import { Client, actor } from "/lightmoon/index.js";
import { equal, settle, test } from "./harness.js";

const Room = actor("chat.Room", {});
const names = { actor: "chat.Room", key: "1" };
const by = (...connections) => ({ info: {}, connections: Object.fromEntries(connections.map((one) => [one, { at: "t" }])) });
const count = (users) => ({ users, anonymous: 0, connections: users });

/** A room that is followed; `log` is what its handler heard. */
async function join(server, presence) {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  const room = Room("1", client);
  const log = [];
  const off = room.on("presence", ({ joins, leaves }) => log.push([Object.keys(joins), Object.keys(leaves)]));
  await server.greet();
  await answer(server, presence);
  return { client, room, log, off };
}

async function answer(server, presence) {
  const found = { run: "r", rev: 4, grace: 5, count: count(0), users: {}, ...presence };
  server.connection.answer("lm.subscribe", { epoch: "a", seq: 0, recovered: true, state: null, events: [], presence: found });
  await settle();
}

const tell = (server, rev, params) => server.connection.notify("lm.presence", { ...names, run: "r", rev, count: count(1), ...params });

test("a snapshot, then who came with a first connection and went with the last one", async (server) => {
  const { room, log } = await join(server, { users: { 1: by("a") } });
  tell(server, 5, { joins: { 1: by("b"), 2: by("c") }, leaves: {} });
  tell(server, 6, { joins: { 2: by("d") }, leaves: { 2: ["c"], 1: ["a"] } });
  tell(server, 7, { joins: {}, leaves: { 2: ["d"], 9: ["x"] } });
  equal(log, [[["1"], []], [["2"], []], [[], []], [[], ["2"]]]);
  equal(room.presence, { users: { 1: by("b") }, count: count(1) });
});

test("what is replaced is a new object, and a frame that was seen changes nothing", async (server) => {
  const { room, log } = await join(server, { users: { 1: by("a") } });
  const before = room.presence;
  tell(server, 4, { joins: { 7: by("z") }, leaves: {} });
  equal(log.length, 1);
  tell(server, 5, { joins: { 2: by("c") }, leaves: {} });
  equal([Object.keys(before.users), Object.keys(room.presence.users)], [["1"], ["1", "2"]]);
});

test("a gap is no silent one: it subscribes again", async (server, clock) => {
  const { log } = await join(server, { users: { 1: by("a") } });
  tell(server, 6, { joins: { 2: by("c") }, leaves: {} });
  equal(log.length, 1);
  await clock.pass(1);
  equal(server.connection.all("lm.subscribe").length, 2);
  await answer(server, { rev: 6, users: { 1: by("a"), 2: by("c") } });
  equal(log.at(-1), [["2"], []]);
});

test("after a break those who are on their way back have not left", async (server, clock) => {
  const { room, log } = await join(server, { users: { 1: by("a"), 2: by("b"), 3: by("c") } });
  server.connection.drop();
  equal(Object.keys(room.presence.users), ["1", "2", "3"]);
  await clock.pass(1);
  await server.greet();
  await answer(server, { run: "new", rev: 0, users: { 1: by("d") } });
  server.connection.notify("lm.presence", { ...names, run: "new", rev: 1, count: count(2), joins: { 2: by("e") }, leaves: {} });
  equal(log, [[["1", "2", "3"], []], [[], []], [[], []]]);
  await clock.pass(5);
  equal(log.at(-1), [[], ["3"]]);
  equal(room.presence.users, { 1: by("d"), 2: by("e") });
});

test("of a crowd only numbers are known", async (server) => {
  const { room, log } = await join(server, { users: { 1: by("a") } });
  tell(server, 5, { users: null, count: count(600) });
  equal(room.presence, { users: undefined, count: count(600) });
  tell(server, 6, { users: null, count: count(601) });
  tell(server, 7, { users: { 1: by("a"), 2: by("b") }, count: count(2) });
  equal(Object.keys(room.presence.users), ["1", "2"]);
  equal(log.slice(1, 3), [[[], []], [[], []]]);
});

test("nobody listens: nothing is known, and no timer is left", async (server, clock) => {
  const { client, room, off } = await join(server, { users: { 1: by("a") } });
  off();
  await settle();
  equal(room.presence, undefined);
  client.close();
  equal(clock.pending.length, 0);
});

test("what is said of a connection goes with each subscription, and is said anew when it changes", async (server, clock) => {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  const room = Room("1", client);
  const meta = { device: "phone" };
  room.present(meta);
  meta.device = "changed later";
  room.on("presence", () => {});
  await server.greet();
  equal(server.connection.all("lm.subscribe").map(({ params }) => params.meta), [{ device: "phone" }]);
  room.present({ device: "desk" });
  await answer(server, {});
  room.present({ device: "car" });
  equal(server.connection.all("lm.present").map(({ params }) => params), [
    { ...names, meta: { device: "desk" } },
    { ...names, meta: { device: "car" } },
  ]);
  server.connection.drop();
  room.present({ device: "boat" });
  await clock.pass(1);
  await server.greet();
  equal(server.connection.all("lm.subscribe").map(({ params }) => params.meta), [{ device: "boat" }]);
  equal(server.connection.all("lm.present"), []);
});

test("a change of what a connection says is shown, and nobody comes or goes", async (server) => {
  const { room, log } = await join(server, { users: { 1: by("a"), 2: by("c") } });
  tell(server, 5, { joins: { 1: { info: {}, connections: { a: { at: "t", meta: { typing: true } } } } }, leaves: {} });
  equal(log, [[["1", "2"], []], [[], []]]);
  equal(room.presence.users, { 1: { info: {}, connections: { a: { at: "t", meta: { typing: true } } } }, 2: by("c") });
});

test("what can't be said is told, and what can't be said now is said by joining again", async (server, clock) => {
  const { room } = await join(server, { users: {} });
  const errors = [];
  room.on("error", ({ type }) => errors.push(type));
  room.present({ much: "x" });
  server.connection.refuse("lm.present", { code: -32602, data: { type: "invalid_params", retryable: false } });
  await settle();
  equal(errors, ["invalid_params"]);
  room.present({ typing: true });
  server.connection.refuse("lm.present", { code: 4029, data: { type: "overloaded", retryable: true, retry_after: 2 } });
  await clock.pass(1);
  equal(server.connection.all("lm.subscribe").length, 1);
  await clock.pass(2);
  equal(server.connection.all("lm.subscribe").map(({ params }) => params.meta), [undefined, { typing: true }]);
  equal(errors.length, 1);
});

test("a closed client waits for nobody to come back", async (server, clock) => {
  const { client, log } = await join(server, { users: { 1: by("a"), 2: by("b") } });
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  await answer(server, { users: { 1: by("a") } });
  const told = log.length;
  client.close();
  equal(clock.pending, [], "timers");
  await clock.pass(10);
  equal(log.length, told, "what is told");
});
