/** The panel: what the clients of this browser's pages do, as their pages tell it. */
import { details, row, statistics, update } from "./view.js";

const KEPT = 2000; // entries of one page
const $ = (id) => document.getElementById(id);
const channel = new BroadcastChannel("lightmoon-devtools");
const pages = new Map(); // by client: {title, url, entries}
const list = $("entries");

let shown; // the client that is looked at
let chosen; // the entry whose details are shown
let paused = false;
const filter = { kind: "", text: "" };

channel.onmessage = ({ data }) => data.entries && take(data);
channel.postMessage({ want: "all" });

function take({ client, title, url, entries }) {
  if (!pages.has(client)) begin(client);
  const page = Object.assign(pages.get(client), { title, url });
  for (const entry of entries) page.entries.set(entry.number, entry);
  for (const number of page.entries.keys()) {
    if (page.entries.size <= KEPT) break;
    page.entries.delete(number);
  }
  label(client);
  if (client === shown && !paused) for (const entry of entries) show(entry);
  if (client === shown) summarize();
}

/** A page that was not known: the latest is the one to look at. */
function begin(client) {
  pages.set(client, { entries: new Map() });
  const option = document.createElement("option");
  option.value = client;
  $("pages").append(option);
  $("empty").hidden = true;
  look(client);
}

function label(client) {
  const { title, url } = pages.get(client);
  const { pathname, hash } = new URL(url);
  const text = `${title ? `${title} · ` : ""}${pathname}${hash}`;
  const option = [...$("pages").options].find((one) => one.value === client);
  if (option.textContent !== text) option.textContent = text;
}

function look(client) {
  shown = client;
  $("pages").value = client;
  redraw();
}

function redraw() {
  list.replaceChildren();
  for (const entry of pages.get(shown)?.entries.values() ?? []) show(entry);
  summarize();
}

function show(entry) {
  const there = list.querySelector(`[data-number="${entry.number}"]`);
  if (there) update(there, entry);
  else if (fits(entry)) append(entry);
  if (chosen === entry.number) details($("details"), entry);
}

function append(entry) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  list.append(row(entry));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function fits({ kind, name, key, detail }) {
  if (filter.kind && kind !== filter.kind) return false;
  return !filter.text || `${name} ${key ?? ""} ${JSON.stringify(detail)}`.toLowerCase().includes(filter.text);
}

function summarize() {
  const entries = [...(pages.get(shown)?.entries.values() ?? [])];
  statistics($("statistics"), entries);
  const connection = entries.filter(({ kind }) => kind === "connection").at(-1);
  $("connection").dataset.state = connection?.name ?? "closed";
  $("connection").lastElementChild.textContent = [connection?.name, connection?.detail.transport].filter(Boolean).join(" · ");
}

$("pages").addEventListener("change", () => look($("pages").value));
$("search").addEventListener("input", () => {
  filter.text = $("search").value.toLowerCase();
  redraw();
});
$("clear").addEventListener("click", () => {
  pages.get(shown)?.entries.clear();
  $("details").replaceChildren();
  redraw();
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  if (!paused) redraw();
});
for (const button of document.querySelectorAll("[data-kind]")) {
  button.addEventListener("click", () => {
    filter.kind = button.dataset.kind;
    for (const one of document.querySelectorAll("[data-kind]")) one.setAttribute("aria-pressed", one === button);
    redraw();
  });
}
list.addEventListener("click", ({ target }) => {
  const found = target.closest("[data-number]");
  if (!found) return;
  chosen = Number(found.dataset.number);
  list.querySelector(".chosen")?.classList.remove("chosen");
  found.classList.add("chosen");
  details($("details"), pages.get(shown).entries.get(chosen));
});
