import { HttpTransport } from "./http.js";

/**
 * Messages by event stream. It is read with `fetch`: an EventSource could send no header, and would keep the server's
 * signs of life to itself.
 */
export class EventStreamTransport extends HttpTransport {
  static name = "sse";

  async listen() {
    const { body } = await this.get("sse", { Accept: "text/event-stream" });
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.over) return;
      this.heard();
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) this.#event(event);
      this.listening();
    }
  }

  #event(event) {
    const fields = event.split("\n").map((line) => line.match(/^(id|data): ?(.*)$/) ?? []);
    const field = (name) => fields.find(([, found]) => found === name)?.[2];
    if (field("data") !== undefined) this.received([JSON.parse(field("data"))], field("id"));
  }
}
