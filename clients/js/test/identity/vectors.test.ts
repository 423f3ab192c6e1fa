/** docs/protocol/vectors/identity.json and nodeinfo.json. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../src/bytes.js";
import { BadSignature, InvalidKey, InvalidRecord, TicketError } from "../../src/errors.js";
import { digest, Identity, labelled, parseSignId, rawKey, verify } from "../../src/identity/keys.js";
import { createNodeInfo, decodeNodeInfo } from "../../src/identity/nodeinfo.js";
import { parseTicket, ticket } from "../../src/identity/ticket.js";
import { vectors } from "../support/vectors.js";

const identities = vectors("identity");
const records = vectors("nodeinfo");

for (const item of identities.keys) {
  test(`keys: ${item.name}`, () => {
    const identity = new Identity(fromHex(item.seed));
    assert.equal(identity.signId, item.signId);
    assert.equal(identity.boxId, item.boxId);
    assert.equal(hex(identity.boxSecret), item.boxSecret);
    assert.equal(Identity.fromSecret(identity.secret()).signId, item.signId);
  });
}

for (const item of identities.invalidSignIds) {
  test(`no signId: ${item.name}`, () => {
    assert.throws(() => parseSignId(item.signId), InvalidKey);
  });
}

for (const item of identities.labelled) {
  test(`labelled: ${item.name}`, () => {
    const parts = item.parts.map(fromHex);
    assert.equal(hex(labelled(item.label, ...parts)), item.encoded);
    assert.equal(hex(digest(item.label, ...parts)), item.digest);
  });
}

for (const item of identities.signatures) {
  test(`signature: ${item.name}`, () => {
    const check = () => verify(rawKey(item.signId), fromHex(item.signature), item.label, ...item.parts.map(fromHex));
    if (item.valid) check();
    else assert.throws(check, BadSignature);
  });
}

for (const item of records.valid) {
  test(`record: ${item.name}`, () => {
    const info = decodeNodeInfo(fromHex(item.record), records.now);
    const made = createNodeInfo(
      new Identity(fromHex(item.seed)),
      item.connectionInfo,
      item.seq,
      item.expires,
      fromHex(item.mailKey),
    );
    assert.deepEqual(info, made);
    assert.equal(hex(made.record), item.record);
    assert.deepEqual([info.signId, info.boxId, info.addresses], [item.signId, item.boxId, item.connectionInfo]);
  });
}

for (const item of records.invalid) {
  test(`no record: ${item.name}`, () => {
    assert.throws(
      () => decodeNodeInfo(fromHex(item.record), records.now),
      (error: unknown) => error instanceof InvalidRecord && error.reason === item.reason,
    );
  });
}

for (const item of records.tickets) {
  test(`ticket: ${item.name}`, () => {
    if (item.record === undefined || item.reason) {
      assert.throws(() => parseTicket(item.ticket, records.now), TicketError);
      return;
    }
    const info = parseTicket(item.ticket, records.now);
    assert.equal(hex(info.record), item.record);
    assert.equal(parseTicket(ticket(info), records.now).signId, info.signId);
  });
}
