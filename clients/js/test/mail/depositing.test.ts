/** Mail goes to the relay of its recipient that lives, and a copy of what is held up on its way as well. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { hex } from "../../src/bytes.js";
import type { Directory } from "../../src/directory/directory.js";
import type { OwnRecord } from "../../src/directory/ownrecord.js";
import { MailHeldUp, Unreachable } from "../../src/errors.js";
import { Identity } from "../../src/identity/keys.js";
import { createNodeInfo } from "../../src/identity/nodeinfo.js";
import { Depositor } from "../../src/mail/depositing.js";
import type { Mail, MailCarrier } from "../../src/plugins/mailcarrier.js";
import type { Transport } from "../../src/plugins/transport.js";

const ALICE = new Identity(new Uint8Array(32).fill(1));
const BOB = new Identity(new Uint8Array(32).fill(2));
const LATER = Date.now() + 1_000_000;

function post(script: Record<string, Error>): { depositor: Depositor; asked: string[]; ids: Set<string> } {
  const asked: string[] = [];
  const ids = new Set<string>();
  const carrier = {
    schemes: ["relay+ws"],
    async deposit(address: string, _peer: string, mail: Mail): Promise<void> {
      const name = address.slice("relay+ws://".length);
      asked.push(name);
      ids.add(hex(mail.id));
      if (script[name]) throw script[name];
    },
  } as unknown as Transport & MailCarrier;
  const own = createNodeInfo(ALICE, ["relay+ws://own"], 1, Math.floor(LATER / 1000));
  const addresses = ["a", "b", "c", "d"].map((name) => `relay+ws://${name}`);
  const directory = { find: () => ({ ...createNodeInfo(BOB, addresses, 1, Math.floor(LATER / 1000)) }) };
  const depositor = new Depositor(ALICE, own as unknown as OwnRecord, directory as unknown as Directory, [carrier]);
  return { depositor, asked, ids };
}

test("what is held up on its way is left elsewhere, too, and those that failed are asked last", async () => {
  const { depositor, asked, ids } = post({ a: new MailHeldUp("held up"), b: new Unreachable("down") });
  await depositor.leave(BOB.signId, [], [], LATER);
  assert.deepEqual(asked, ["a", "b", "c"]);
  assert.equal(ids.size, 3, "a relay on the way to two of them tells the copies apart");
  await depositor.leave(BOB.signId, [], [], LATER);
  assert.deepEqual(asked.slice(3), ["c"]);
});

test("held up is better than nowhere", async () => {
  const down = new Unreachable("down");
  const { depositor, asked } = post({ a: down, b: new MailHeldUp("held up"), c: down, d: down });
  await depositor.leave(BOB.signId, [], [], LATER);
  assert.deepEqual(asked, ["a", "b", "c", "d"]);
  await assert.rejects(post({ a: down, b: down, c: down, d: down }).depositor.leave(BOB.signId, [], [], LATER));
});
