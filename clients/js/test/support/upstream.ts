/** What an API stands on, where nothing is sent. */

import { encode } from "../../src/codec.js";
import { GroupDelivery } from "../../src/groupdelivery.js";
import { Delivery } from "../../src/message.js";
import type { Upstream } from "../../src/messaging/api.js";

/** Takes all, and answers each request with `reply`. */
export function upstream(signId: string, reply: Uint8Array = encode(null)): Upstream {
  return {
    signId,
    post: async () => new Delivery(signId),
    postToAll: async () => new GroupDelivery("nobody", new Map()),
    ask: async () => reply,
  };
}
