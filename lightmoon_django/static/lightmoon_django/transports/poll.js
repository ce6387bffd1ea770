import { HttpTransport } from "./http.js";

/** Messages by long polls, one after the other: what any proxy lets through. */
export class PollTransport extends HttpTransport {
  static name = "poll";

  async listen() {
    this.listening();
    while (!this.over) {
      this.heard();
      const { messages, cursor } = await (await this.get("poll")).json();
      if (!this.over) this.received(messages, cursor);
    }
  }
}
