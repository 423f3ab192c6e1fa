/**
 * One signed-in connection to one relay, kept up: connects, signs in, batches what is told, comes back after a loss.
 * Nothing waits for the relay's welcome: what was told meanwhile goes out in one message with the sign-in.
 */

import { EMPTY, random } from "../../bytes.js";
import { asError, ProtocolError } from "../../errors.js";
import { type Identity, rawKey } from "../../identity/keys.js";
import { Backoff } from "../../links/backoff.js";
import { escaped } from "../../text.js";
import type { RelayAddress } from "./protocol/address.js";
import type { Item } from "./protocol/items.js";
import { answer, type Challenge, checkWelcome, type SignIn } from "./protocol/signin.js";
import { decodeItems, encodeItems, MAX_ITEMS, VERSION } from "./protocol/wire.js";

const SIGN_IN_TIMEOUT = 20_000; // milliseconds for name, TCP, TLS, the upgrade and the welcome
const STABLE = 5000; // a connection that held so long was a good one
const LONGEST_PAUSE = 20_000; // between two attempts
const SUSPICION = 60_000; // that a relay is left alone which broke the protocol, or says taken-over
const LONGEST_RETRY = 600_000; // that a relay may ask us to stay away
const PROBE_AFTER = 15_000; // of silence: a page cannot send pings of the WebSocket
const PROBE_TIMEOUT = 10_000;
const HIGH_WATER = 1024 * 1024; // bytes buffered above which it counts as full
const DROP = 16 * 1024 * 1024; // bytes above which nothing more is taken
const BATCH = 256 * 1024; // bytes of items in one message, but for a single larger one
const DRAIN = 20; // milliseconds between two looks at the buffer

export interface ClientOwner {
  /** Signed in, and the relay has proven its key. */
  relayUp(limits: readonly number[]): void;
  /** Anything but what belongs to signing in; a ProtocolError thrown here ends the connection. */
  relaySaid(item: Item): void;
  /** A connection was lost, or one could not be made; what was told and not sent is gone. `serious`: trying again is no help. */
  relayDown(reason: string, serious: boolean): void;
  /** It is no longer `full`. */
  relayWritable(): void;
}

/** `reason` says why it is not up. */
export class Client {
  reason = "not connected yet";
  up = false;
  private socket: WebSocket | undefined;
  private asked: Challenge | undefined;
  private given: SignIn | undefined;
  private items: Item[] = [];
  private bytes = 0;
  private armed = false;
  private closed = false;
  private draining = false;
  private began = 0;
  private heard = 0;
  private readonly backoff = new Backoff(LONGEST_PAUSE);
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `keep`: come back for ever after a loss; else one connection is all. */
  constructor(
    readonly address: RelayAddress,
    private readonly identity: Identity,
    private readonly owner: ClientOwner,
    private readonly keep: boolean,
  ) {}

  /** Up, or about to be: what is told now goes out with the sign-in. */
  get open(): boolean {
    return this.socket !== undefined;
  }

  /** More is under way than should be: tell only what cannot wait, until the owner hears relayWritable. */
  get full(): boolean {
    return this.bytes + (this.socket?.bufferedAmount ?? 0) > HIGH_WATER;
  }

  /** Begin to connect. */
  start(): void {
    if (!this.socket && !this.closed) this.connect();
  }

  /** Say this to the relay, with all else of this turn. False, and it is dropped, while there is no connection. */
  tell(item: Item): boolean {
    if (!this.socket || this.bytes > DROP) return false;
    this.items.push(item);
    this.bytes += sizeOf(item);
    if (this.given) this.arm();
    return true;
  }

  /** Look at once whether the connection is still good, and do not wait for the next attempt: the network has changed. */
  check(): void {
    if (this.up) this.probe();
    else if (!this.socket && !this.closed) {
      this.backoff.reset();
      this.again(0);
    }
  }

  /** Send what was told and say goodbye; the owner hears relayDown at once, nothing after it. */
  leave(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.up) {
      this.tell({ type: "bye", reason: "closed", retry: 0 });
      this.flush();
    }
    this.over("closed");
    clearTimeout(this.timer);
  }

  private connect(): void {
    this.began = performance.now();
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.address.url, [VERSION]);
    } catch (error) {
      this.owner.relayDown(asError(error).message, true);
      return;
    }
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.socket === socket && this.received(data);
    socket.onclose = ({ reason }) => this.socket === socket && this.over(reason || "the connection was lost");
    socket.onerror = () => this.socket === socket && this.over("the relay cannot be reached");
    this.socket = socket;
    this.later(SIGN_IN_TIMEOUT, () => this.over("the relay does not answer the sign-in"));
  }

  private received(data: unknown): void {
    this.heard = performance.now();
    try {
      if (!(data instanceof ArrayBuffer)) throw new ProtocolError("bad-item", "a text message");
      for (const item of decodeItems(new Uint8Array(data))) {
        this.item(item);
        if (!this.socket) return;
      }
    } catch (error) {
      this.violated(asError(error));
    }
  }

  private item(item: Item): void {
    if (item.type === "bye") this.dismissed(item.reason, item.retry);
    else if (!this.asked || !this.given) this.signIn(item);
    else if (!this.up) this.greeted(item, this.asked, this.given);
    else if (item.type === "challenge" || item.type === "signIn" || item.type === "welcome") {
      throw new ProtocolError("wrong-state", `${item.type} after the sign-in`);
    } else this.owner.relaySaid(item);
  }

  private signIn(item: Item): void {
    if (item.type !== "challenge") throw new ProtocolError("wrong-state", "a relay begins with its challenge");
    this.asked = { ...item, nonce: item.nonce.slice(), relay: item.relay.slice() };
    this.given = answer(this.identity, item, this.address.key, random(32));
    this.items.unshift(this.given);
    this.flush();
  }

  private greeted(item: Item, asked: Challenge, given: SignIn): void {
    if (item.type !== "welcome") throw new ProtocolError("wrong-state", "the relay says something before its welcome");
    checkWelcome(asked, given, item);
    this.up = true;
    this.reason = "";
    this.listen();
    this.owner.relayUp(item.limits);
  }

  private dismissed(reason: string, retry: number): void {
    const takenOver = reason === "taken-over";
    this.over(
      takenOver ? "taken-over: another node has signed in with this key" : reason || "the relay said goodbye",
      Math.max(Math.min(retry, LONGEST_RETRY), takenOver ? SUSPICION : 0),
      takenOver || reason === "denied",
    );
  }

  /** It may be another relay, or a hostile one: it is told why, and left alone for a while. */
  private violated(error: Error): void {
    const reason = error instanceof ProtocolError ? error.reason : "internal";
    this.items = [{ type: "bye", reason, retry: 0 }];
    if (this.socket?.readyState === WebSocket.OPEN)
      this.socket.send(encodeItems(this.items) as Uint8Array<ArrayBuffer>);
    this.over(error.message, SUSPICION, true);
  }

  /** This connection is of no use any more. */
  private over(reason: string, retry: number = 0, serious: boolean = false): void {
    const socket = this.socket;
    if (!socket) return;
    if (this.up && performance.now() - this.began > STABLE) this.backoff.reset();
    this.socket = this.asked = this.given = undefined;
    this.up = false;
    this.items = [];
    this.bytes = 0;
    this.reason = escaped(reason);
    socket.close();
    clearTimeout(this.timer);
    if (this.keep && !this.closed) this.again(Math.max(this.backoff.next(), retry));
    this.owner.relayDown(this.reason, serious);
  }

  private again(delay: number): void {
    this.later(delay, () => this.start());
  }

  // Whether the relay is there: what we say to ourselves comes back.

  private listen(): void {
    const quiet = performance.now() - this.heard;
    if (quiet >= PROBE_AFTER) this.probe();
    else this.later(PROBE_AFTER - quiet, () => this.listen());
  }

  private probe(): void {
    const asked = performance.now();
    this.tell({ type: "data", peer: rawKey(this.identity.signId), link: 0, data: EMPTY });
    this.later(PROBE_TIMEOUT, () => {
      if (this.heard >= asked) this.listen();
      else this.over("the relay fell silent");
    });
  }

  private later(delay: number, then: () => void): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(then, delay);
  }

  // Writing.

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    queueMicrotask(() => {
      this.armed = false;
      this.flush();
    });
  }

  private flush(): void {
    const { socket, items } = this;
    if (!socket || !this.given) return;
    this.items = [];
    this.bytes = 0;
    let batch: Item[] = [];
    let size = 0;
    const send = (): void => {
      if (batch.length) socket.send(encodeItems(batch) as Uint8Array<ArrayBuffer>);
      batch = [];
      size = 0;
    };
    for (const item of items) {
      const more = sizeOf(item);
      if (size + more > BATCH || batch.length >= MAX_ITEMS) send();
      batch.push(item);
      size += more;
    }
    send();
    if (this.full) this.drain();
  }

  /** A WebSocket does not tell when its buffer has drained. */
  private drain(): void {
    if (this.draining) return;
    this.draining = true;
    const look = (): void => {
      if (this.full) {
        setTimeout(look, DRAIN);
        return;
      }
      this.draining = false;
      if (this.socket) this.owner.relayWritable();
    };
    setTimeout(look, DRAIN);
  }
}

/** About how many bytes it is in a message; never fewer. */
function sizeOf(item: Item): number {
  if (item.type === "open" || item.type === "data") return item.data.length + 320;
  if (item.type === "deposit") return item.envelope.length + 400;
  return item.type === "taken" ? 9 * item.numbers.length + 16 : 700;
}
