/** How the panel shows one entry, and all of them in numbers. */

const SLOW = 100; // milliseconds at which a call's bar is full

export function make(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function row(entry) {
  const element = make("li");
  element.dataset.number = entry.number;
  const time = make("time", "", clock(entry.at));
  const badge = make("span", "badge", entry.kind);
  const name = make("span", "name");
  const short = make("span", "short");
  const meter = make("meter", "bar");
  meter.max = SLOW;
  element.append(time, badge, name, short, meter, make("span", "ms"));
  element.tabIndex = 0;
  update(element, entry);
  return element;
}

/** A call that was answered meanwhile. */
export function update(element, entry) {
  const [, badge, name, short, meter, ms] = element.children;
  element.className = `${entry.kind}${entry.failed ? " failed" : ""}${element.matches(".chosen") ? " chosen" : ""}`;
  badge.dataset.kind = entry.kind;
  name.replaceChildren(make("b", "", entry.name));
  if (entry.key !== undefined) name.append(make("i", "", entry.key));
  short.textContent = summary(entry);
  const waits = entry.ms === undefined;
  meter.hidden = waits;
  if (!waits) meter.value = Math.min(SLOW, entry.ms);
  ms.textContent = waits ? "" : duration(entry.ms);
}

function summary({ kind, seq, detail }) {
  const { params, result, error, data, set, state, transport, reason } = detail;
  if (error) return `${error.data?.type ?? error.code}: ${error.message}`;
  if (kind === "connection") return [state, transport].filter(Boolean).join(" · ");
  const { key, actor, ...given } = params ?? {};
  const what = kind === "call" ? given : (data ?? set ?? reason ?? actor ?? result);
  return `${seq === undefined ? "" : `#${seq} `}${what === undefined ? "" : text(what)}`;
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value)).slice(0, 300);

export function details(place, entry) {
  const { number, started, failed, detail, ...head } = entry;
  const title = make("h2", "", entry.key === undefined ? entry.name : `${entry.name} ${entry.key}`);
  const facts = make("dl");
  const shown = { when: new Date(head.at).toLocaleString(), took: head.ms && duration(head.ms), seq: head.seq, epoch: head.epoch };
  for (const [name, value] of Object.entries(shown)) {
    if (value !== undefined) facts.append(make("dt", "", name), make("dd", "", value));
  }
  const parts = Object.entries(detail)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [make("h3", name === "error" ? "failed" : "", name), make("pre", "", JSON.stringify(value, null, 2))]);
  place.replaceChildren(title, facts, ...parts);
}

export function statistics(place, entries) {
  const calls = entries.filter(({ kind }) => kind === "call");
  const times = calls.map(({ ms }) => ms).filter((ms) => ms !== undefined).sort((a, b) => a - b);
  const at = (share) => (times.length ? duration(times[Math.min(times.length - 1, Math.floor(times.length * share))]) : "–");
  const count = (wanted) => entries.filter(({ kind }) => kind === wanted).length;
  const open = calls.filter(({ ms }) => ms === undefined).length;
  const numbers = {
    calls: calls.length,
    "under way": open,
    failed: calls.filter(({ failed }) => failed).length,
    median: at(0.5),
    "95 %": at(0.95),
    events: count("event"),
    patches: count("state"),
  };
  place.replaceChildren(
    ...Object.entries(numbers).map(([name, value]) => {
      const one = make("div", name === "failed" && value ? "failed" : "");
      one.append(make("strong", "", value), make("span", "", name));
      return one;
    }),
  );
}

const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

const clock = (at) => {
  const date = new Date(at);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};
