/** Circles: sets of keys that decide the scope a message arrives in. */

import { parseSignId, type SignId } from "./keys.js";

export const SCOPES = ["self", "friends", "public"] as const;
export type Scope = (typeof SCOPES)[number];

/** A named set of signIds; each key is checked before anything changes. `changed` is called after every change. */
export class Circle implements Iterable<SignId> {
  private members: Set<SignId>;

  constructor(
    readonly name: string,
    members: Iterable<string> = [],
    private readonly changed: () => void = () => {},
  ) {
    this.members = new Set(Array.from(members, parseSignId));
  }

  has(key: string): boolean {
    return this.members.has(key as SignId);
  }

  add(key: string): void {
    this.members.add(parseSignId(key));
    this.changed();
  }

  delete(key: string): void {
    if (this.members.delete(key as SignId)) this.changed();
  }

  /** Replace all members. */
  update(keys: Iterable<string>): void {
    this.members = new Set(Array.from(keys, parseSignId));
    this.changed();
  }

  get size(): number {
    return this.members.size;
  }

  [Symbol.iterator](): Iterator<SignId> {
    return [...this.members].values();
  }
}

/** Who is what to us. */
export class Circles {
  constructor(
    readonly devices: Circle,
    readonly friends: Circle,
    private readonly own: SignId,
  ) {}

  scope(sender: string): Scope {
    if (sender === this.own || this.devices.has(sender)) return "self";
    return this.friends.has(sender) ? "friends" : "public";
  }

  /** Whether it is a friend or a device. */
  known(peer: string): boolean {
    return this.scope(peer) !== "public";
  }
}

/** Topics that steer this node. They are local only: a remote peer of any scope can neither write nor be sent them. */
export function isControlTopic(topic: string): boolean {
  if (topic.startsWith("transports.") || topic.startsWith("directory.")) return true;
  if (topic === "friends.updateRequest" || topic === "devices.updateRequest") return true;
  return topic.slice(topic.indexOf(".") + 1) === "update" && topic.includes(".");
}
