import { Client, actor } from "/lightmoon/index.js";
import { equal, failure, ok, test } from "./harness.js";

const Auction = actor("auctions.Auction", { bid: ["amount", "note"], close: [] });

function make(server) {
  return new Client({ url: "ws://test/ws", WebSocket: server.WebSocket });
}

test("arguments travel by name, with the key as text", async (server) => {
  const client = make(server);
  Auction(42, client).bid("12.50");
  Auction("43", client).bid("1", undefined);
  Auction("44", client).close();
  await server.greet();
  const sent = server.connection.received.slice(1).map(({ method, params }) => [method, params]);
  equal(sent, [
    ["auctions.Auction.bid", { key: "42", amount: "12.50" }],
    ["auctions.Auction.bid", { key: "43", amount: "1" }],
    ["auctions.Auction.close", { key: "44" }],
  ]);
});

test("an options object may follow the last argument, also where optional ones are left out", async (server) => {
  const client = make(server);
  const { signal } = new AbortController();
  Auction("1", client).bid("1", { signal });
  Auction("1", client).bid("2", "n", { signal });
  Auction("1", client).bid("3", "n", undefined);
  await server.greet();
  const sent = server.connection.received.slice(1).map(({ params }) => params);
  equal(sent, [{ key: "1", amount: "1" }, { key: "1", amount: "2", note: "n" }, { key: "1", amount: "3", note: "n" }]);
});

test("an aborted signal cancels the call of a proxy", async (server) => {
  const error = await failure(Auction("1", make(server)).close({ signal: AbortSignal.abort() }));
  equal(error.type, "cancelled");
});

test("too many arguments are an error that names the right ones", async (server) => {
  const auction = Auction("1", make(server));
  for (const args of [[1, 2, 3], [1, 2, {}, 4]]) {
    let error;
    try {
      auction.bid(...args);
    } catch (found) {
      error = found;
    }
    ok(error instanceof TypeError && error.message.includes("(amount, note)"), String(error));
  }
});

test("equal addresses are the same object; other keys and other clients have their own", async (server) => {
  const [client, other] = [make(server), make(server)];
  ok(Auction("1", client) === Auction(1, client), "the same");
  ok(Auction("1", client) !== Auction("2", client), "another key");
  ok(Auction("1", client) !== Auction("1", other), "another client");
});

test("a proxy as an argument travels as its key, and is no promise", async (server) => {
  const client = make(server);
  const auction = await Auction("7", client);
  ok(auction === Auction("7", client), "awaiting it gives itself");
  client.call("refer", { to: auction });
  await server.greet();
  equal(server.connection.last("refer").params, { to: "7" });
});
