/** How a message ended. */
export interface Outcome {
  state: "delivered" | "expired" | "refused" | "sent" | "dropped";
  /** False when no handler at the peer listened to the topic. */
  handled: boolean;
  /** Why it was not delivered. */
  reason: string;
}

export const DELIVERED: Outcome = { state: "delivered", handled: true, reason: "" };
export const UNHANDLED: Outcome = { state: "delivered", handled: false, reason: "unhandled" };
export const EXPIRED: Outcome = { state: "expired", handled: false, reason: "not confirmed in time" };
export const SENT: Outcome = { state: "sent", handled: false, reason: "" };

/** What a reason word of an acknowledgement means. */
export function outcomeOf(reason: string): Outcome {
  if (reason === "unhandled") return UNHANDLED;
  return reason === "expired" ? EXPIRED : { state: "refused", handled: false, reason };
}
