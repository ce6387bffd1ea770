const MOST = 50; // frames of one POST

/**
 * Frames by POST, each answered in its POST's body.
 *
 * Two POSTs may overtake each other on the way, but messages to one actor run in the order they are sent. So frames of
 * one `lane` follow one after the other; those that wait meanwhile go together. Frames without a lane go at once.
 */
export class Upstream {
  #post;
  #lanes = new Map(); // what waits while a POST of the lane is under way

  /** `post(body)` sends one; its promise is fulfilled when it is answered. */
  constructor(post) {
    this.#post = post;
  }

  send(frame, lane) {
    const waiting = this.#lanes.get(lane);
    if (waiting) waiting.push(frame);
    else if (lane === undefined) this.#post(frame);
    else this.#run(lane, [frame]);
  }

  async #run(lane, frames) {
    this.#lanes.set(lane, frames);
    while (frames.length) {
      const batch = frames.splice(0, MOST);
      if (!(await this.#post(batch.length === 1 ? batch[0] : `[${batch.join(",")}]`))) break;
    }
    this.#lanes.delete(lane);
  }
}
