/**
 * Friends, devices and lists as they are saved; who is known, in which scope a peer is, and who gets what is sent to several.
 *
 *     node/friends, node/devices   [signId]
 *     node/lists                   as lists.ts says
 */

import { decode, encode } from "./codec.js";
import { asError, InvalidKey, LocalError } from "./errors.js";
import { Circle, Circles, type Scope } from "./identity/circles.js";
import { parseSignId, type SignId } from "./identity/keys.js";
import { meaningOf } from "./identity/names.js";
import { Lists } from "./lists.js";
import type { Storage } from "./storage/contract.js";
import { escaped } from "./text.js";

export type CircleName = "friends" | "devices";

/** `saved` has the rows of the node; `changed` is called with a circle after every change of it. */
export class Contacts {
  readonly devices: Circle;
  readonly friends: Circle;
  /** Others of one's own, to send to several at once. */
  readonly lists: Lists;
  private readonly circles: Circles;

  constructor(
    private readonly own: SignId,
    private readonly storage: Storage,
    saved: ReadonlyMap<string, Uint8Array>,
    private readonly changed: (circle: Circle) => void,
    private readonly failed: (error: Error) => void,
  ) {
    this.devices = this.load("devices", saved);
    this.friends = this.load("friends", saved);
    this.circles = new Circles(this.devices, this.friends, own);
    this.lists = new Lists(own, saved.get("node/lists"), (lists) => this.save("lists", lists));
  }

  scope(peer: SignId): Scope {
    return this.circles.scope(peer);
  }

  /** Whether it is a friend or a device. */
  known(peer: SignId): boolean {
    return this.circles.known(peer);
  }

  /**
   * Who gets what is sent to several: to a list or a circle, as "@family" or "@friends", or to all of these peers. Throws
   * InvalidKey when there is no such list or peer, LocalError when nobody is in it.
   */
  members(destination: string | readonly string[]): SignId[] {
    const found = typeof destination === "string" ? this.named(destination) : destination.map(parseSignId);
    const members = new Set([...found].filter((peer) => peer !== this.own));
    if (!members.size) {
      const given = typeof destination === "string" ? `nobody is in ${escaped(destination)}` : "no other peer is given";
      throw new LocalError(`${given}: there is nobody to send to`);
    }
    return [...members];
  }

  private named(name: string): Iterable<SignId> {
    if (name === "@friends") return this.friends;
    if (name === "@devices") return this.devices;
    const meaning = meaningOf(name);
    if (meaning) throw new InvalidKey(`${name} means ${meaning}, and is no destination; @friends and @devices are`);
    return this.lists.members(name);
  }

  private save(name: CircleName | "lists", value: Uint8Array): void {
    this.storage.write([[`node/${name}`, value]], true).catch((error: unknown) => this.failed(asError(error)));
  }

  private load(name: CircleName, saved: ReadonlyMap<string, Uint8Array>): Circle {
    const row = saved.get(`node/${name}`);
    const circle: Circle = new Circle(name, row ? (decode(row) as string[]) : [], () => {
      this.save(name, encode([...circle]));
      this.changed(circle);
    });
    return circle;
  }
}
