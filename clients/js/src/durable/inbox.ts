/**
 * Keeps what came and is not handled: messages that wait for a handler, and those whose handlers failed. Rows are on disk
 * before their sender hears that a message is kept; in memory there are keys alone. Order holds within a topic: as long as
 * something of it is kept, what comes for it is kept, too.
 */

import { decode } from "../codec.js";
import type { EndOfOne } from "../delivery/receipts.js";
import { type Ending, EXPIRED, REFUSED } from "../delivery/wire.js";
import { asError, CodecError } from "../errors.js";
import type { Row, Storage } from "../storage/contract.js";
import type { Handled } from "./handled.js";
import {
  amongFailed,
  decodeKept,
  ENDED,
  encodeKept,
  endedRow,
  FAILED_ROWS,
  HELD,
  type Kept,
  type KeptKey,
  keyOf,
  parseEnded,
  parseKey,
  topicPrefix,
} from "./inboxrows.js";

const PAGE = 64; // messages read at once
const LONGEST_TIMER = 3_600_000; // milliseconds
const DROPPED: Ending = [REFUSED, "dropped unread"];

/** How much is kept: messages and bytes of one peer, and bytes in all. */
export interface InboxLimits {
  readonly messages: number;
  readonly bytes: number;
  readonly total: number;
}

export const LIMITS: InboxLimits = { messages: 10_000, bytes: 64 * 1024 * 1024, total: 128 * 1024 * 1024 };

/** What waits of one topic of one sender, for one protocol. */
export interface HeldTopic {
  readonly peer: string;
  readonly protocol: string;
  readonly topic: string;
  readonly keys: Map<string, KeptKey>;
  /** Keys of those that handlers have. */
  readonly inHand: Set<string>;
}

/** A kept message, as an application sees it. */
export interface InboxMessage {
  readonly id: string;
  readonly sender: string;
  readonly topic: string;
  readonly payload: unknown;
  /** Unix milliseconds: when it came, and until when it is kept for a handler. */
  readonly at: number;
  readonly expires: number;
  /** What its handlers threw; "" while it waits for them. */
  readonly error: string;
  readonly key: KeptKey;
}

/** `receipt` tells a sender how kept messages ended, and saves `rows` with that. */
export class Inbox {
  readonly topics = new Map<string, HeldTopic>();
  /** Called when more of a peer can be kept again, and when there is something on disk for handlers. */
  freed: (peer: string) => void = () => {};
  saved: () => void = () => {};
  private readonly failedKeys = new Map<string, KeptKey>();
  private readonly sums = new Map<string, { messages: number; bytes: number }>();
  private readonly full = new Set<string>();
  private readonly ended = new Map<string, { ends: EndOfOne[]; rows: Row[] }>();
  private bytes = 0;
  private number = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerDue = Infinity;
  private closed = false;

  constructor(
    private readonly storage: Storage,
    private readonly handled: Handled,
    private readonly receipt: (peer: string, ends: EndOfOne[], rows: Row[]) => void,
    private readonly failed: (error: Error) => void,
    private readonly limits: InboxLimits = LIMITS,
  ) {}

  /** Count what earlier runs kept. */
  async open(): Promise<void> {
    for (const prefix of [HELD, FAILED_ROWS]) {
      for (const encoded of await this.storage.keys(prefix)) {
        const key = parseKey(encoded);
        if (key) this.count(key);
        else this.failed(new CodecError(`the key of a kept message is damaged: ${encoded}`));
      }
    }
  }

  /** Tell senders the ends that an earlier run did not tell, and watch for what expires. */
  async begin(): Promise<void> {
    for (const [key, value] of await this.storage.read(ENDED)) {
      try {
        const { peer, end } = parseEnded(key, value);
        this.tell(peer, end, key);
      } catch (error) {
        this.failed(asError(error));
      }
    }
    for (const topic of this.topics.values()) for (const key of topic.keys.values()) this.watch(key.expires);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  // What applications call.

  /** What waits for a handler, or with `failed` those whose handlers failed; the first of them. */
  async list({ failed = false, limit = 256 } = {}): Promise<InboxMessage[]> {
    const found = await this.read(failed ? FAILED_ROWS : HELD, "", limit);
    return found.map(([key, kept]) => ({
      id: `${kept.epoch}.${kept.lane}.${kept.seq}@${kept.peer}`,
      sender: kept.peer,
      topic: kept.topic,
      payload: readable(kept.payload),
      at: kept.at,
      expires: kept.expires,
      error: kept.error,
      key,
    }));
  }

  /** Give a failed message to its handlers again, once there are some. False when it is not there any more. */
  async retry({ key }: InboxMessage): Promise<boolean> {
    const kept = await this.find(key);
    if (!kept || !key.failed || !this.keyOf(key.encoded)) return false;
    this.uncount(key);
    this.handled.attach([[key.encoded, null]], true);
    this.keep({ ...kept, error: "" });
    return true;
  }

  /** Let a message go. False when it is not there any more, or a handler has it. */
  async drop({ key }: InboxMessage): Promise<boolean> {
    const kept = await this.find(key);
    if (!kept || !this.keyOf(key.encoded)) return false;
    this.end(key, kept, DROPPED);
    return true;
  }

  // What comes.

  holds(peer: string, protocol: string, topic: string): boolean {
    return this.topics.size > 0 && this.topics.has(topicPrefix(false, peer, protocol, topic));
  }

  /** Whether a message of `size` bytes can be kept; when not, `freed` tells later. */
  room(peer: string, size: number): boolean {
    const { messages, bytes } = this.sums.get(peer) ?? { messages: 0, bytes: 0 };
    const { limits } = this;
    if (messages < limits.messages && bytes + size <= limits.bytes && this.bytes + size <= limits.total) return true;
    this.full.add(peer);
    return false;
  }

  /** Keep a message that waits for a handler, or has failed. */
  keep(kept: Kept): void {
    const key = keyOf(kept, ++this.number);
    this.count(key);
    this.handled.attach([[key.encoded, encodeKept(kept)]], true, () => this.saved());
    if (!key.failed) this.watch(key.expires);
  }

  // What goes.

  /** It is handled, or will not be. */
  end(key: KeptKey, kept: Kept, ending: Ending): void {
    this.uncount(key);
    if (kept.told) {
      this.handled.attach([[key.encoded, null]], false);
      return;
    }
    const note = endedRow(kept, ending);
    const { lane, epoch, seq } = kept;
    const [end, text] = ending;
    this.handled.attach([[key.encoded, null], note], false, () =>
      this.tell(kept.peer, { lane, epoch, seq, end, text }, note[0]),
    );
  }

  /** Its handlers failed. */
  fail(key: KeptKey, kept: Kept, error: string, ending: Ending): void {
    this.end(key, kept, ending);
    this.keep(amongFailed(kept, error));
  }

  /** The next messages of a topic behind the key `after`. */
  page({ peer, protocol, topic }: HeldTopic, after: string): Promise<[KeptKey, Kept][]> {
    return this.read(topicPrefix(false, peer, protocol, topic), after, PAGE);
  }

  /** All that ends in one turn is told a sender in one receipt. */
  private tell(peer: string, end: EndOfOne, row: string): void {
    if (!this.ended.size) queueMicrotask(() => this.sendReceipts());
    const told = this.ended.get(peer) ?? { ends: [], rows: [] };
    told.ends.push(end);
    told.rows.push([row, null]);
    this.ended.set(peer, told);
  }

  private sendReceipts(): void {
    const ended = [...this.ended];
    this.ended.clear();
    for (const [peer, { ends, rows }] of ended) this.receipt(peer, ends, rows);
  }

  private async read(prefix: string, after: string, limit: number): Promise<[KeptKey, Kept][]> {
    const rows = await this.storage.read(prefix, after, limit);
    return rows.flatMap(([encoded, value]) => {
      const key = this.keyOf(encoded);
      try {
        return key ? [[key, decodeKept(key, value)] as [KeptKey, Kept]] : [];
      } catch (error) {
        this.failed(asError(error));
        return [];
      }
    });
  }

  private async find(key: KeptKey): Promise<Kept | undefined> {
    const [found] = await this.read(key.encoded, "", 1);
    const inHand = this.topics.get(prefixOf(key))?.inHand.has(key.encoded);
    return found && this.keyOf(key.encoded) && !inHand ? found[1] : undefined;
  }

  private keyOf(encoded: string): KeptKey | undefined {
    const parsed = parseKey(encoded);
    if (!parsed) return undefined;
    return parsed.failed ? this.failedKeys.get(encoded) : this.topics.get(prefixOf(parsed))?.keys.get(encoded);
  }

  private count(key: KeptKey): void {
    const { peer, protocol, topic } = key;
    this.number = Math.max(this.number, key.number);
    const sum = this.sums.get(peer) ?? { messages: 0, bytes: 0 };
    this.sums.set(peer, { messages: sum.messages + 1, bytes: sum.bytes + key.size });
    this.bytes += key.size;
    if (key.failed) {
      this.failedKeys.set(key.encoded, key);
      return;
    }
    const place = prefixOf(key);
    const held = this.topics.get(place) ?? { peer, protocol, topic, keys: new Map(), inHand: new Set() };
    held.keys.set(key.encoded, key);
    this.topics.set(place, held);
  }

  private uncount(key: KeptKey): void {
    const { messages, bytes } = this.sums.get(key.peer)!;
    if (messages > 1) this.sums.set(key.peer, { messages: messages - 1, bytes: bytes - key.size });
    else this.sums.delete(key.peer);
    this.bytes -= key.size;
    this.failedKeys.delete(key.encoded);
    const held = this.topics.get(prefixOf(key));
    if (!key.failed && held) {
      held.keys.delete(key.encoded);
      held.inHand.delete(key.encoded);
      if (!held.keys.size) this.topics.delete(prefixOf(key));
    }
    if (this.full.size) this.relieve();
  }

  /** Say of whom more can be kept again, once a tenth of what may be kept is free. */
  private relieve(): void {
    const { limits } = this;
    if (this.bytes > limits.total * 0.9) return;
    for (const peer of [...this.full]) {
      const { messages, bytes } = this.sums.get(peer) ?? { messages: 0, bytes: 0 };
      if (messages > limits.messages * 0.9 || bytes > limits.bytes * 0.9) continue;
      this.full.delete(peer);
      this.freed(peer);
    }
  }

  /** One timer for all that waits. */
  private watch(expires: number): void {
    if (this.closed || expires >= this.timerDue) return;
    clearTimeout(this.timer);
    this.timerDue = expires;
    const delay = Math.min(Math.max(expires - Date.now(), 0), LONGEST_TIMER);
    this.timer = setTimeout(() => void this.expire().catch((error: unknown) => this.failed(asError(error))), delay);
  }

  /** End what nobody came for in time; what handlers have is theirs. */
  private async expire(): Promise<void> {
    const now = Date.now();
    const waiting = [...this.topics.values()].flatMap(({ keys, inHand }) =>
      [...keys.values()].filter((key) => !inHand.has(key.encoded)),
    );
    for (const key of waiting.filter(({ expires }) => expires <= now)) {
      const kept = await this.find(key);
      if (kept) this.end(key, kept, [EXPIRED, ""]);
    }
    this.timerDue = Infinity;
    for (const { expires } of waiting) if (expires > now) this.watch(expires);
  }
}

function prefixOf({ peer, protocol, topic }: KeptKey): string {
  return topicPrefix(false, peer, protocol, topic);
}

/** Undefined when it cannot be decoded. */
function readable(payload: Uint8Array): unknown {
  try {
    return decode(payload);
  } catch {
    return undefined;
  }
}
