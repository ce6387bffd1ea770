const MOST = 50; // frames of one POST

/**
 * Frames by POST, each answered in its POST's body.
 *
 * Two POSTs may overtake each other on the way, but messages to one actor run in the order they are sent. So frames of
 * one `lane` follow one after the other; those that wait meanwhile go together, as far as the server reads them. Frames
 * without a lane go at once.
 */
export class Upstream {
  limit = Infinity; // bytes of one POST
  #post;
  #lanes = new Map(); // what waits while a POST of the lane is under way

  /** `post(body)` sends one; its promise is fulfilled when it is answered: "alone" asks for its frames one by one. */
  constructor(post) {
    this.#post = post;
  }

  send(frame, lane) {
    const waiting = this.#lanes.get(lane);
    if (waiting) waiting.push(frame);
    else if (lane === undefined) this.#post(frame);
    else this.#run(lane, [frame]);
  }

  /** Whether that frame still waited, and is sent no more. */
  withdraw(frame, lane) {
    const waiting = this.#lanes.get(lane) ?? [];
    const place = waiting.indexOf(frame);
    return place >= 0 && waiting.splice(place, 1).length > 0;
  }

  async #run(lane, frames) {
    this.#lanes.set(lane, frames);
    let alone = 0; // so many go one by one
    while (frames.length) {
      const batch = this.#next(frames, alone-- > 0 ? 1 : MOST);
      const answered = await this.#post(batch.length === 1 ? batch[0] : `[${batch.join(",")}]`);
      if (!answered) break;
      if (answered !== "alone") continue;
      alone = batch.length;
      frames.unshift(...batch);
    }
    this.#lanes.delete(lane);
  }

  /** Take what goes together; no character has more than three bytes. */
  #next(frames, most) {
    let [count, room] = [0, this.limit - 1];
    while (count < frames.length && count < most) {
      room -= 3 * frames[count].length + 1;
      if (room < 0 && count) break;
      count += 1;
    }
    return frames.splice(0, count);
  }
}
