/** How much an inbox keeps, and what of it survives. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY } from "../../src/bytes.js";
import type { EndOfOne } from "../../src/delivery/receipts.js";
import { DELIVERED, TAKEN } from "../../src/delivery/wire.js";
import { Handled } from "../../src/durable/handled.js";
import { Inbox, type InboxLimits, LIMITS } from "../../src/durable/inbox.js";
import { decodeKept, encodeKept, type Kept, keyOf, parseEnded, parseKey } from "../../src/durable/inboxrows.js";
import { MemoryStorage } from "../../src/storage/memory.js";

const PEER = "A/".repeat(21).concat("A=");
const NEVER = 1e15;

function message(seq: number, topic: string = "chat", size: number = 0): Kept {
  const payload = size ? new Uint8Array(size) : EMPTY;
  return {
    peer: PEER,
    lane: 2,
    epoch: 7,
    seq,
    topic,
    protocol: "ms",
    payload,
    expires: NEVER,
    at: 1,
    told: false,
    error: "",
  };
}

class Ends {
  readonly told: EndOfOne[] = [];
}

async function opened(storage: MemoryStorage, limits: InboxLimits = LIMITS): Promise<[Inbox, Handled, Ends]> {
  const ends = new Ends();
  const failed = (error: Error): never => assert.fail(error);
  const handled = new Handled(storage, () => {}, failed);
  const receipt = (_peer: string, told: EndOfOne[], rows: [string, Uint8Array | null][]): void => {
    ends.told.push(...told);
    void storage.write(rows);
  };
  const inbox = new Inbox(storage, handled, receipt, failed, limits);
  await inbox.open();
  await inbox.begin();
  return [inbox, handled, ends];
}

test("keys and values are read again, whatever is in their names", () => {
  for (const [number, kept] of [
    message(1),
    { ...message(2, "a/b.ü𝄞"), protocol: "x/y %" },
    { ...message(3), error: "no" },
  ].entries()) {
    const key = keyOf(kept, number);
    assert.deepEqual(parseKey(key.encoded), key);
    assert.deepEqual(decodeKept(key, encodeKept(kept)), kept);
  }
  for (const damaged of ["held/", `held/${PEER}/ms/chat/1/2`, `held/${PEER}/ms/chat/x/2/3`])
    assert.equal(parseKey(damaged), undefined);
  assert.throws(() => parseEnded(`ended/${PEER}/2/x/1`, EMPTY), /damaged/);
});

test("above its quota nothing is kept, until a tenth is free again", async () => {
  const [inbox, handled] = await opened(new MemoryStorage(), { messages: 10, bytes: 2000, total: 3000 });
  const freed: string[] = [];
  inbox.freed = (peer) => freed.push(peer);
  for (let seq = 1; seq <= 10; seq++) {
    assert.ok(inbox.room(PEER, 64));
    inbox.keep(message(seq));
  }
  assert.equal(inbox.room(PEER, 64), false);
  await handled.close();
  const [[key, kept] = assert.fail()] = await inbox.page([...inbox.topics.values()][0]!, "");
  inbox.end(key, kept, TAKEN);
  assert.deepEqual(freed, [PEER]);
  assert.ok(inbox.room(PEER, 64));
  assert.equal(inbox.room(PEER, 2000), false);
  assert.equal(inbox.room("another", 2500), false);
  inbox.close();
});

test("an end that was noted and not told is told by the next run", async () => {
  const storage = new MemoryStorage();
  const [first, handled] = await opened(storage);
  first.keep(message(1));
  first.keep(message(2));
  await handled.close();
  first.close();
  const [key] = await storage.keys("held/");
  const ended = `ended/${PEER}/2/7/1`;
  await storage.write([
    [key!, null],
    [ended, new Uint8Array([0x92, 0, 0xa0])],
  ]);
  const [second, , ends] = await opened(storage);
  await Promise.resolve();
  assert.deepEqual(ends.told, [{ lane: 2, epoch: 7, seq: 1, end: DELIVERED, text: "" }]);
  assert.deepEqual(await storage.keys("ended/"), []);
  assert.ok(second.holds(PEER, "ms", "chat"));
  assert.equal(second.holds(PEER, "ms", "chat.room"), false);
  second.close();
});
