/**
 * Friends and devices as they are saved; who is known, and in which scope a peer is.
 *
 *     node/friends, node/devices   [signId]
 */

import { decode, encode } from "./codec.js";
import { asError } from "./errors.js";
import { Circle, Circles, type Scope } from "./identity/circles.js";
import type { SignId } from "./identity/keys.js";
import type { Storage } from "./storage/contract.js";

export type CircleName = "friends" | "devices";

/** `saved` has the rows of the node; `changed` is called with a circle after every change of it. */
export class Contacts {
  readonly devices: Circle;
  readonly friends: Circle;
  private readonly circles: Circles;

  constructor(
    own: SignId,
    private readonly storage: Storage,
    saved: ReadonlyMap<string, Uint8Array>,
    private readonly changed: (circle: Circle) => void,
    private readonly failed: (error: Error) => void,
  ) {
    this.devices = this.load("devices", saved);
    this.friends = this.load("friends", saved);
    this.circles = new Circles(this.devices, this.friends, own);
  }

  scope(peer: SignId): Scope {
    return this.circles.scope(peer);
  }

  /** Whether it is a friend or a device. */
  known(peer: SignId): boolean {
    return this.circles.known(peer);
  }

  private load(name: CircleName, saved: ReadonlyMap<string, Uint8Array>): Circle {
    const row = saved.get(`node/${name}`);
    const circle: Circle = new Circle(name, row ? (decode(row) as string[]) : [], () => {
      this.storage
        .write([[`node/${name}`, encode([...circle])]], true)
        .catch((error: unknown) => this.failed(asError(error)));
      this.changed(circle);
    });
    return circle;
  }
}
