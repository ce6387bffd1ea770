/**
 * Who follows an actor, put together from what the server tells: a snapshot when it is joined, then what changes.
 *
 * `told` is called with the users who came and those who went, by key, and everybody. A user who has several
 * connections comes with the first and goes with the last one. After a break those who were there before and are not
 * listed yet may be on their way back: they stay for the server's grace.
 */
export class Presence {
  current; // replaced, never changed: {users, count}; users is undefined of a crowd
  #told;
  #run;
  #rev;
  #timer;
  #listed; // without those who may be on their way back

  constructor(told) {
    this.#told = told;
  }

  /** The answer to a subscription brought it. */
  snapshot({ run, rev, count, users, grace }) {
    const again = this.#run !== undefined;
    [this.#run, this.#rev, this.#listed] = [run, rev, users ?? undefined];
    clearTimeout(this.#timer);
    if (again && users && this.current.users) {
      this.#timer = setTimeout(() => this.#show(this.#listed, this.current.count), grace * 1000);
      this.#show({ ...this.current.users, ...users }, count);
    } else {
      this.#show(this.#listed, count);
    }
  }

  /** What has changed. False: something before it is missing. */
  take({ run, rev, count, users, joins = {}, leaves = {} }) {
    if (run === this.#run && rev <= this.#rev) return true; // seen
    if (run !== this.#run || rev !== this.#rev + 1) return false;
    this.#rev = rev;
    if (users !== undefined || !this.#listed) {
      this.#listed = users ?? undefined;
      this.#show(this.#listed, count);
      return true;
    }
    const waiting = without(this.current.users, Object.keys(this.#listed));
    this.#listed = changed(this.#listed, joins, leaves);
    this.#show({ ...waiting, ...this.#listed }, count);
    return true;
  }

  /** The connection is gone: who may be on their way back is waited for when there is another. */
  disconnected() {
    clearTimeout(this.#timer);
  }

  /** Nobody listens any more, or the server said no. */
  forget() {
    clearTimeout(this.#timer);
    this.current = this.#run = this.#listed = undefined;
  }

  #show(users, count) {
    const before = this.current?.users;
    this.current = { users, count };
    const joins = users ? without(users, Object.keys(before ?? {})) : {};
    const leaves = before && users ? without(before, Object.keys(users)) : {};
    this.#told({ joins, leaves, users, count });
  }
}

function changed(listed, joins, leaves) {
  const found = { ...listed };
  for (const [user, names] of Object.entries(leaves)) {
    if (!found[user]) continue;
    found[user] = { ...found[user], connections: without(found[user].connections, names) };
  }
  for (const [user, { info, connections }] of Object.entries(joins)) {
    found[user] = { info, connections: { ...found[user]?.connections, ...connections } };
  }
  for (const [user, { connections }] of Object.entries(found)) if (!Object.keys(connections).length) delete found[user];
  return found;
}

function without(object, names) {
  const found = { ...object };
  for (const name of names) delete found[name];
  return found;
}
