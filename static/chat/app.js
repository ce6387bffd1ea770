import { chat, client } from "lightmoon";
import { showConnection } from "./connection.js";
import { showCounter } from "./counter.js";
import { myName, rename } from "./name.js";
import { RoomView } from "./room.js";

const links = [...document.querySelectorAll("[data-room]")];
let view;

function enter() {
  const slug = decodeURIComponent(location.hash.slice(1)) || links[0]?.dataset.room;
  if (!slug) return;
  view?.leave();
  view = new RoomView(chat.Room(slug), myName());
  for (const link of links) link.toggleAttribute("aria-current", link.dataset.room === slug);
}

showConnection(client);
showCounter(chat.Counter("moon"));
rename((name) => view?.rename(name));
addEventListener("hashchange", enter);
enter();
