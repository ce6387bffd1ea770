import { Client, actor } from "/lightmoon/index.js";
import { equal, failure, ok, settle, test, watch } from "./harness.js";

const Room = actor("chat.Room", { add: ["n"], rename: ["topic"] });
const names = { actor: "chat.Room", key: "1" };

/** A room with a state, whose snapshots are kept. */
async function follow(server, state = { count: 0, topic: "A" }) {
  const client = new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"], backoff: { random: () => 0.5 } });
  const room = Room("1", client);
  const seen = [];
  room.subscribe((found) => seen.push(found));
  await server.greet();
  await join(server, 0, state);
  seen.splice(0);
  const add = (n) => room.optimistic((found) => ({ ...found, count: found.count + n }), () => room.add(n));
  return { client, room, seen, add };
}

async function join(server, seq, state, more = {}) {
  server.connection.answer("lm.subscribe", { epoch: "a", seq, recovered: false, state, events: [], ...more });
  await settle();
}

/** `mark` is that of the call which made it. */
function patch(server, seq, set, mark) {
  server.connection.notify("lm.state", { ...names, epoch: "a", seq, set, mark });
}

/** The mark that a call of `add` carries, by their order. */
function mark(server, index = 0) {
  const { mark } = server.connection.all("chat.Room.add")[index];
  ok(typeof mark === "string" && mark.length >= 6 && mark.length <= 16, `its mark is ${mark}`);
  return mark;
}

/** Answer the calls of `add` by their order. */
function answer(server, index, answer = { result: null }) {
  server.connection.send({ id: server.connection.all("chat.Room.add")[index].id, ...answer });
}

const no = { error: { code: 4001, message: "No.", data: { type: "no" } } };

test("an update is shown at once, and gives way to the state that its call made", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  const before = room.state;
  const call = watch(add(5));
  equal(seen, [{ count: 5, topic: "A" }], "what is shown before anything is sent back");
  equal(before, { count: 0, topic: "A" });
  ok(room.getSnapshot() === room.state, "the same object until the next change");
  patch(server, 1, { count: 5 }, mark(server));
  equal(seen, [{ count: 5, topic: "A" }, { count: 5, topic: "A" }], "one gives way to the other in one step");
  await clock.pass(20);
  equal(call.state, "pending");
  patch(server, 2, { count: 7 });
  equal(room.state.count, 7, "while the answer is on its way");
  answer(server, 0, { result: 5 });
  await settle();
  equal([call.state, call.value], ["resolved", 5]);
  equal(seen.map(({ count }) => count), [5, 5, 7], "what was shown");
});

test("an answer that comes before the state that its call made ends the update no later than that state", async (server) => {
  const { room, seen, add } = await follow(server);
  add(5);
  server.connection.notify("lm.reset", { ...names, reason: "gap" });
  answer(server, 0, { result: 5 });
  await settle();
  equal(room.state.count, 5, "while the stream is joined again");
});

test("calls that are not expected to change anything carry no mark", async (server) => {
  const { room, add } = await follow(server);
  add(1);
  room.add(2);
  await Promise.resolve();
  room.add(3);
  equal(server.connection.all("chat.Room.add").map(({ mark }) => typeof mark), ["string", "undefined", "undefined"]);
});

test("an update for two calls stays until the states of both are there", async (server) => {
  const { room, seen } = await follow(server);
  const both = () => Promise.all([room.add(1), room.add(2)]);
  room.optimistic((found) => ({ ...found, count: found.count === 0 ? 3 : found.count + 2 }), both);
  equal(mark(server, 0), mark(server, 1));
  patch(server, 1, { count: 1 }, mark(server, 0));
  patch(server, 2, { count: 3 }, mark(server, 1));
  equal(seen.map(({ count }) => count), [3, 3, 3]);
});

test("one whose call is made later can't be told, and ends with its promise", async (server) => {
  const { room, add } = await follow(server);
  const late = async () => {
    await undefined;
    return room.add(5);
  };
  room.optimistic((found) => ({ ...found, topic: "B" }), late);
  await settle();
  equal(server.connection.all("chat.Room.add")[0].mark, undefined);
  patch(server, 1, { count: 5 });
  equal(room.state, { count: 5, topic: "B" });
  answer(server, 0);
  await settle();
  equal(room.state, { count: 5, topic: "A" });
});

test("an update whose call fails is rolled back before the caller hears of it", async (server) => {
  const { room, seen, add } = await follow(server);
  const call = add(5).catch((error) => [error.type, room.state.count]);
  answer(server, 0, no);
  equal(await call, ["no", 0]);
  equal(seen.map(({ count }) => count), [5, 0]);
});

test("a call that can't even be made leaves nothing, and its error goes to the caller", async (server) => {
  const { room } = await follow(server);
  let error;
  try {
    room.optimistic((state) => ({ ...state, count: 9 }), () => room.add(1, 2, 3));
  } catch (found) {
    error = found;
  }
  ok(error instanceof TypeError, String(error));
  equal(room.state.count, 0);
});

test("changes of others are taken in at once, and the update runs again on them", async (server) => {
  const { room, seen, add } = await follow(server);
  add(5);
  patch(server, 1, { topic: "B", count: 100 }, "another");
  equal(room.state, { count: 105, topic: "B" });
  patch(server, 2, { count: 105 }, mark(server));
  answer(server, 0);
  await settle();
  equal(seen.map(({ count }) => count), [5, 105, 105]);
});

test("two updates are shown in order, and each goes with its own state", async (server) => {
  const { room, seen, add } = await follow(server);
  add(1);
  room.optimistic((state) => ({ ...state, count: state.count * 10 }), () => room.add(9));
  equal(room.state.count, 10);
  patch(server, 1, { count: 1 }, mark(server, 0));
  equal(room.state.count, 10);
  patch(server, 2, { count: 10 }, mark(server, 1));
  equal(room.state.count, 10);
  answer(server, 0);
  answer(server, 1);
  await settle();
  equal(room.state.count, 10);
  equal([...new Set(seen.map(({ count }) => count))], [1, 10], "nothing was ever counted twice");
});

test("the first of two fails: the second one runs without it", async (server) => {
  const { room, add } = await follow(server);
  const first = failure(add(1));
  add(10);
  equal(room.state.count, 11);
  answer(server, 0, no);
  await first;
  equal(room.state.count, 10);
});

test("an answer without a change ends the update", async (server) => {
  const { room, add } = await follow(server);
  add(1);
  answer(server, 0);
  await settle();
  equal(room.state.count, 0);
});

test("states and answers that come all at once never show an update twice", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  for (let i = 0; i < 3; i += 1) add(1);
  for (let i = 0; i < 3; i += 1) patch(server, i + 1, { count: i + 1 }, mark(server, i));
  for (let i = 0; i < 3; i += 1) answer(server, i);
  await clock.pass(1);
  equal(room.state.count, 3);
  ok(seen.every(({ count }) => count <= 3), "shown: " + seen.map(({ count }) => count));
});

test("a reconnection keeps what is shown, until the call that is sent again is answered", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  const call = watch(add(5));
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  equal(server.connection.all("chat.Room.add").length, 1, "sent again");
  equal(room.state.count, 5);
  answer(server, 0, { result: 5 }); // what waited for the client comes before what it asks for
  await settle();
  equal([call.state, room.state.count], ["resolved", 5], "there is no state yet that has it");
  const found = { ...names, epoch: "a", seq: 1, set: { count: 5 }, mark: mark(server) };
  await join(server, 1, null, { recovered: true, events: [found] });
  equal(room.state.count, 5);
  ok(seen.every(({ count }) => count === 5), "shown: " + seen.map(({ count }) => count));
  patch(server, 2, { count: 6 });
  equal(room.state.count, 6, "the update is gone");
});

test("after a reconnection an update gives way to the state that was missed, however late its call is answered", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  add(5);
  const own = mark(server);
  server.connection.drop(); // before its state and the answer
  await clock.pass(1);
  equal(room.state.count, 5, "while nobody is connected");
  await server.greet({ recovered: true });
  const missed = [{ count: 5 }, { topic: "B" }].map((set, index) => ({ ...names, epoch: "a", seq: index + 1, set }));
  missed[0].mark = own;
  await join(server, 2, null, { recovered: true, events: missed });
  equal(room.state, { count: 5, topic: "B" });
  await clock.pass(20);
  answer(server, 0, { result: 5 });
  await settle();
  equal(room.state, { count: 5, topic: "B" });
  ok(seen.every(({ count }) => count === 5), "shown: " + seen.map(({ count }) => count));
});

test("an update that was answered meanwhile goes with its state among those that were missed", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  add(5);
  const own = mark(server);
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  answer(server, 0, { result: 5 });
  await settle();
  const missed = [{ topic: "B" }, { count: 5 }].map((set, index) => ({ ...names, epoch: "a", seq: index + 1, set }));
  missed[1].mark = own;
  await join(server, 2, null, { recovered: true, events: missed });
  equal(room.state, { count: 5, topic: "B" });
  ok(seen.every(({ count }) => count === 5), "shown: " + seen.map(({ count }) => count));
});

test("where each sees something else, what was missed tells which updates the state has", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  add(5);
  add(1);
  const own = mark(server);
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  const missed = { ...names, epoch: "a", seq: 1, mark: own };
  await join(server, 1, { count: 5, topic: "A" }, { recovered: true, events: [missed] });
  equal(room.state.count, 6, "the second call isn't in it");
  ok(seen.every(({ count }) => count === 5 || count === 6), "shown: " + seen.map(({ count }) => count));
  answer(server, 0);
  answer(server, 1);
  await settle();
  equal(room.state.count, 5, "it changed nothing");
});

test("a call is sent again before its stream is joined, so that its answer tells what a fresh state has", async (server, clock) => {
  const { room, seen, add } = await follow(server);
  add(5);
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: true });
  const sent = server.connection.received.map(({ method }) => method);
  ok(sent.indexOf("chat.Room.add") < sent.indexOf("lm.subscribe"), `${sent}`);
  answer(server, 0, { result: 5 });
  await settle();
  await join(server, 0, { count: 5, topic: "A" });
  equal(room.state.count, 5);
  ok(seen.every(({ count }) => count === 5), "shown: " + seen.map(({ count }) => count));
});

test("a session that is gone rolls back, for nobody knows the outcome, and the fresh state is shown", async (server, clock) => {
  const { room, add } = await follow(server);
  const error = failure(add(5));
  server.connection.drop();
  await clock.pass(1);
  await server.greet({ recovered: false });
  equal((await error).type, "outcome_unknown");
  equal(room.state.count, 0);
  await join(server, 0, { count: 5, topic: "C" });
  equal(room.state, { count: 5, topic: "C" });
});

test("an update that throws is reported and left out; one without a state doesn't run", async (server) => {
  const { room } = await follow(server);
  const reported = [];
  const quiet = globalThis.reportError;
  globalThis.reportError = (error) => reported.push(error.message);
  try {
    room.optimistic(() => {
      throw new Error("mine");
    }, () => room.add(1));
    equal(room.state.count, 0);
    const elsewhere = Room("2", new Client({ url: "ws://test/ws", WebSocket: server.WebSocket, transports: ["websocket"] }));
    elsewhere.optimistic((state) => ({ count: state.count }), () => elsewhere.add(1));
    equal(elsewhere.state, undefined);
    equal(reported, ["mine"]);
  } finally {
    globalThis.reportError = quiet;
  }
});
