/** docs/protocol/vectors/mail.json. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { concat, fromHex, hex } from "../../src/bytes.js";
import { Identity, type SignId } from "../../src/identity/keys.js";
import { open, padded, seal } from "../../src/session/envelope.js";
import { type Case, reasonOf, scripted, vectors } from "../support/vectors.js";

const cases = vectors("mail");

/** Long ones are written as a start and what is repeated after it. */
function bytes(value: Case): Uint8Array {
  if (typeof value === "string") return fromHex(value);
  return concat(fromHex(value.start), new Uint8Array(value.times).fill(parseInt(value.repeat, 16)));
}

function opened(item: Case) {
  return open(bytes(item.envelope), new Identity(fromHex(item.recipientSeed)), item.mailSecrets.map(fromHex), item.now);
}

for (const item of cases.classes) {
  test(`class: ${item.name}`, () => assert.equal(padded(item.needs), item.size));
}

for (const item of cases.valid) {
  test(`envelope: ${item.name}`, () => {
    const sender = new Identity(fromHex(item.senderSeed));
    const { content, current, sender: info } = opened(item);
    assert.deepEqual([hex(content), current, info.signId], [item.content, item.current, sender.signId]);
    const draws = scripted(item.ephemeralSecret);
    const made = seal(sender, fromHex(item.record), item.recipient as SignId, fromHex(item.mailKey), content, draws);
    assert.equal(hex(made), item.envelope);
  });
}

for (const item of cases.readable) {
  test(`readable: ${item.name}`, () => assert.equal(hex(opened(item).content), item.content));
}

for (const item of cases.invalid) {
  test(`no envelope: ${item.name}`, () =>
    assert.equal(
      reasonOf(() => opened(item)),
      item.reason,
    ));
}

test("the longest", () => {
  const item = cases.large;
  const sender = new Identity(fromHex(item.senderSeed));
  const content = bytes(item.content);
  const made = seal(
    sender,
    fromHex(item.record),
    item.recipient as SignId,
    fromHex(item.mailKey),
    content,
    scripted(item.ephemeralSecret),
  );
  assert.equal(made.length, item.size);
  assert.equal(opened({ ...item, envelope: hex(made) }).content.length, content.length);
});
