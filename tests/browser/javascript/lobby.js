/** A page that shows who is there. */
import { Client, actor } from "/static/lightmoon_django/index.js";

const Lobby = actor("server.Lobby", {});

export class Visit {
  log = [];
  #client;
  #lobby;

  constructor(transport) {
    this.#client = new Client({ url: "/lightmoon/ws", transports: [transport], backoff: { base: 0.2, cap: 0.2 } });
    this.#lobby = Lobby("1", this.#client);
    this.#lobby.on("presence", ({ joins, leaves, count }) =>
      this.log.push([Object.keys(joins), Object.keys(leaves), count.connections]),
    );
  }

  get connections() {
    return this.#lobby.presence?.count.connections;
  }
}
