import { complain } from "./trouble.js";

const TYPING_EVERY = 2; // seconds between two notices that this user writes
const TYPING_SHOWN = 3.5; // seconds that a notice is shown

const $ = (id) => document.getElementById(id);
const composer = $("composer");

/** One room on the page: what was said, who is here, who is writing. */
export class RoomView {
  #room;
  #name;
  #ends = new AbortController();
  #offs;
  #lastId = 0;
  #lastWho;
  #writers = new Map();
  #noticed = 0;
  #catchingUp = false; // lines said now are in the answer that is on its way

  constructor(room, name) {
    this.#room = room;
    this.#name = name;
    this.#clear();
    this.#offs = [
      room.subscribe(() => this.#showHead()),
      room.on("said", ({ line }) => this.#catchingUp || this.#add(line)),
      room.on("company", ({ people }) => this.#showPeople(people)),
      room.on("is_typing", ({ who }) => this.#showWriter(who)),
      room.on("reset", () => this.#enter()), // reconnected: we may have missed something, and the room forgot us
      room.on("error", complain),
    ];
    const { signal } = this.#ends;
    composer.addEventListener("submit", (event) => this.#submit(event), { signal });
    composer.text.addEventListener("input", () => this.#notice(), { signal });
    this.#enter();
  }

  leave() {
    this.#ends.abort();
    for (const off of this.#offs) off();
    for (const timer of this.#writers.values()) clearTimeout(timer);
  }

  rename(name) {
    this.#name = name;
    this.#enter();
  }

  /** Say who we are and fetch what we don't have yet. */
  async #enter() {
    try {
      this.#showHead();
      await Promise.all([this.#room.hello(this.#name), this.#catchUp()]);
    } catch (error) {
      if (error.type !== "outcome_unknown") complain(error); // the reconnection enters again
    }
  }

  /** Take the answer in before the next event, which may follow it at once. */
  async #catchUp() {
    this.#catchingUp = true;
    try {
      const lines = await this.#room.recent();
      if (this.#ends.signal.aborted) return;
      for (const line of lines) this.#add(line);
    } finally {
      this.#catchingUp = false;
    }
  }

  async #submit(event) {
    event.preventDefault();
    const text = composer.text.value.trim();
    if (!text) return;
    composer.text.value = "";
    this.#noticed = 0;
    try {
      await this.#say(text);
    } catch (error) {
      complain(error);
      if (error.type !== "outcome_unknown") composer.text.value ||= text; // that one may have been said
    }
  }

  async #say(text) {
    try {
      await this.#room.say(text);
    } catch (error) {
      if (error.type !== "stranger") throw error;
      await this.#enter(); // just reconnected, and quicker than our own hello
      await this.#room.say(text);
    }
  }

  #notice() {
    if (Date.now() - this.#noticed < TYPING_EVERY * 1000) return;
    this.#noticed = Date.now();
    this.#room.typing().catch(() => {});
  }

  #clear() {
    $("lines").replaceChildren();
    $("people").replaceChildren();
    $("typing").textContent = $("here-count").textContent = "";
  }

  #showHead() {
    const { title = "…", topic = "" } = this.#room.state ?? {};
    $("title").textContent = title;
    $("topic").textContent = topic;
  }

  #add({ id, who, text, at }) {
    if (id <= this.#lastId) return;
    this.#lastId = id;
    this.#hideWriter(who);
    const list = $("lines");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    const item = make("li", who === this.#lastWho ? "line more" : "line");
    item.classList.toggle("own", who === this.#name);
    if (who !== this.#lastWho) item.append(avatar(who), heading(who, at));
    item.append(make("p", "text", text));
    this.#lastWho = who;
    list.append(item);
    if (atEnd || who === this.#name) list.scrollTop = list.scrollHeight;
  }

  #showPeople(people) {
    const names = [...new Set(people)];
    $("here-count").textContent = names.length;
    $("people").replaceChildren(
      ...names.map((name) => {
        const item = make("li", name === this.#name ? "own" : "");
        item.append(avatar(name), make("span", "", name === this.#name ? `${name} (you)` : name));
        return item;
      }),
    );
  }

  #showWriter(who) {
    if (who === this.#name) return;
    clearTimeout(this.#writers.get(who));
    this.#writers.set(who, setTimeout(() => this.#hideWriter(who), TYPING_SHOWN * 1000));
    this.#showWriters();
  }

  #hideWriter(who) {
    clearTimeout(this.#writers.get(who));
    this.#writers.delete(who);
    this.#showWriters();
  }

  #showWriters() {
    const names = [...this.#writers.keys()];
    $("typing").textContent = names.length ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing…` : "";
  }
}

function make(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function heading(who, at) {
  const head = make("header", "", undefined);
  const time = make("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at;
  head.append(make("strong", "", who), time);
  return head;
}

function avatar(name) {
  const initials = name.split(/\s+/).map((word) => [...word][0]);
  const element = make("span", "avatar", initials.slice(0, 2).join("").toUpperCase());
  const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  element.style.setProperty("--hue", hue);
  element.setAttribute("aria-hidden", "true");
  return element;
}
