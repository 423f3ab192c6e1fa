/** One live link through a relay, as a connection: frames to and from one peer under one number. */

import { RemoteError, Unreachable } from "../../errors.js";
import { type Accept, type Connection, RELAYED, type Receiver } from "../../plugins/transport.js";
import type { Item } from "./protocol/items.js";

const WORDS: Record<string, string> = {
  absent: "the peer is not at the relay now",
  gone: "the peer has left the relay",
  overflow: "the peer did not take what was sent to it",
  denied: "refused there",
  unknown: "the peer knows nothing of this link",
  unreachable: "the peer's relay cannot be reached through ours",
};

/** Our connection to the relay, as the links over it use it. */
export interface RelayLink {
  readonly full: boolean;
  tell(item: Item): boolean;
  /** The connection paused because the relay link is full: release it when that is writable. */
  pauseHere(connection: RelayConnection): void;
  /** It is over. */
  leave(connection: RelayConnection): void;
}

/** Why a connection is paused: our way to the relay is full, or too much waits at the relay for the peer. */
export type Hold = "here" | "there";

export class RelayConnection implements Connection {
  readonly cost = RELAYED;
  readonly relayed = true;
  /** Whether anything has come from the peer on it. */
  answered = false;
  private receiver: Receiver | undefined;
  private opened = false;
  private over = false;
  private readonly holds = new Set<Hold>();

  /** `number` is the link's; `via` a relay of the peer when that is not the one our connection leads to. */
  constructor(
    private readonly relay: RelayLink,
    readonly peer: Uint8Array,
    readonly number: number,
    readonly maxFrame: number,
    readonly address: string,
    readonly via: string,
  ) {}

  /** Give it its receiver; `opened`: the peer has sent the first frame. */
  join(accept: Accept, opened: boolean): void {
    this.opened = this.answered = opened;
    this.receiver = accept(this);
    if (this.holds.size) this.receiver.pauseWriting();
  }

  write(frame: Uint8Array): void {
    if (this.over) return;
    const { peer, number: link, via } = this;
    this.relay.tell(
      this.opened ? { type: "data", peer, link, data: frame } : { type: "open", peer, link, data: frame, via },
    );
    this.opened = true;
    if (this.relay.full && !this.holds.has("here")) {
      this.relay.pauseHere(this);
      this.hold("here");
    }
  }

  close(): void {
    this.leave("closed");
  }

  abort(): void {
    this.leave("gone");
  }

  /** A frame of the peer. */
  received(frame: Uint8Array): void {
    this.answered = true;
    if (!this.over) this.receiver?.frameReceived(frame);
  }

  /** The peer, or the relay in its place, has ended the link. */
  closedThere(reason: string): void {
    this.end(reason === "closed" ? undefined : this.error(WORDS[reason] ?? reason));
  }

  /** It is over, without a word to the peer. */
  end(error: Error | undefined): void {
    if (this.over) return;
    this.over = true;
    this.relay.leave(this);
    queueMicrotask(() => this.receiver?.connectionLost(error));
  }

  error(why: string): Error {
    const text = `${this.address}: ${why}`;
    return this.answered ? new RemoteError(text) : new Unreachable(text);
  }

  hold(why: Hold): void {
    if (!this.holds.size) this.receiver?.pauseWriting();
    this.holds.add(why);
  }

  release(why: Hold): void {
    if (this.holds.delete(why) && !this.holds.size && !this.over) this.receiver?.resumeWriting();
  }

  private leave(reason: string): void {
    if (this.over) return;
    if (this.opened) this.relay.tell({ type: "closed", peer: this.peer, link: this.number, reason });
    this.end(undefined);
  }
}
