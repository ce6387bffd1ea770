/** A network that keeps back answers, or everything else: in order, each until a while after it came. */

const DELAY = 150; // ms

const later = () => new Promise((resolve) => setTimeout(resolve, DELAY));

/** Options of a client. `late` is "answers", "frames" or undefined. */
export function lateness(late) {
  return late === undefined ? {} : { WebSocket: lateSocket(late), fetch: lateFetch(late) };
}

/** One connection keeps its order: what comes behind something late is late too. */
function lateSocket(late) {
  return class extends WebSocket {
    #queue = Promise.resolve();

    set onmessage(handler) {
      super.onmessage = handler && ((event) => this.#deliver(event));
      this.handler = handler;
    }

    #deliver({ data }) {
      const isAnswer = typeof JSON.parse(data).id === "string";
      this.#queue = this.#queue.then(async () => {
        if (isAnswer === (late === "answers")) await later();
        this.handler?.({ data });
      });
    }
  };
}

/** Answers come by POST, and what else there is by GET. */
function lateFetch(late) {
  return async (url, options) => {
    const response = await fetch(url, options);
    if ((options.method === "POST") !== (late === "answers") || !response.body) return response;
    const delayed = new TransformStream({
      async transform(chunk, controller) {
        await later();
        controller.enqueue(chunk);
      },
    });
    return new Response(response.body.pipeThrough(delayed), response);
  };
}
