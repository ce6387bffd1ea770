/** A stock JSON-RPC client that knows nothing of LightMoon: `node stock_client.mjs ws URL KEY` or `tcp HOST:PORT KEY`. */
import net from "node:net";
import {
  CancellationTokenSource,
  ParameterStructures,
  StreamMessageReader,
  StreamMessageWriter,
  createMessageConnection,
} from "vscode-jsonrpc/node.js";

const [how, where, key] = process.argv.slice(2);
const log = [];

async function overWebSocket() {
  const { WebSocket } = await import("ws");
  const { createWebSocketConnection, toSocket } = await import("vscode-ws-jsonrpc");
  const socket = new WebSocket(where);
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  return createWebSocketConnection(toSocket(socket), console);
}

async function overTcp() {
  const [host, port] = where.split(":");
  const socket = net.connect(Number(port), host);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return createMessageConnection(new StreamMessageReader(socket), new StreamMessageWriter(socket));
}

const connection = await (how === "ws" ? overWebSocket() : overTcp());
connection.onNotification("lm.event", ({ name, data, seq }) => log.push(["event", name, data, seq]));
connection.onNotification("lm.state", ({ set }) => log.push(["state", set]));
connection.listen();

const add = "server.Clicks.add";
const failure = (promise) => promise.then(() => "it did not fail", ({ code, message, data }) => ({ code, message, data }));

log.push(["by position", await connection.sendRequest(add, key, 5)]);
log.push(["by name", await connection.sendRequest(add, ParameterStructures.byName, { key, n: 2 })]);
log.push(["padded", await connection.sendRequest(add, key, undefined)]);
const { state } = await connection.sendRequest("lm.subscribe", ParameterStructures.byName, { actor: "server.Clicks", key });
log.push(["subscribed", state]);
log.push(["burst", await connection.sendRequest("server.Clicks.burst", key, 3)]);
log.push(["error", await failure(connection.sendRequest("server.Clicks.refuse", key))]);
log.push(["unknown", (await failure(connection.sendRequest("server.Clicks.hidden", key))).code]);
const source = new CancellationTokenSource();
const sleeping = failure(connection.sendRequest("server.Clicks.sleep", key, source.token));
setTimeout(() => source.cancel(), 100);
log.push(["cancelled", (await sleeping).code]);
await connection.sendNotification(add, ParameterStructures.byName, { key, n: 10 });
log.push(["in the end", await connection.sendRequest("server.Clicks.count_now", key)]);
console.log(JSON.stringify(log));
connection.dispose();
process.exit(0);
