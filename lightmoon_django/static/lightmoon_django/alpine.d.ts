import type { Client, ClientState, LightMoonError } from "./index.js";

/** What `$lm("chat.Room:42")` gives. Any other member is a message of the actor, called with positional arguments. */
export interface LiveActor {
  /** Empty until it is there. */
  state: Record<string, unknown>;
  /** The state is there. */
  ready: boolean;
  /** What the latest call or the subscription failed with. */
  error: LightMoonError | null;
  [message: string]: any;
}

export interface Magics {
  $lm(address: string): LiveActor;
  $connection: ClientState;
}

/** `Alpine.plugin(plugin)`. A page that has Alpine as a global gets it by itself. */
declare const plugin: (alpine: any) => void;
export default plugin;

/** The same for another client than the page's. */
export declare function install(alpine: any, client: Client): void;
