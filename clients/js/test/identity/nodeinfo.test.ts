/** docs/protocol/vectors/nodeinfo.json: records. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../src/bytes.js";
import { InvalidRecord } from "../../src/errors.js";
import { Identity } from "../../src/identity/keys.js";
import { createNodeInfo, decodeNodeInfo } from "../../src/identity/nodeinfo.js";
import { vectors } from "../support/vectors.js";

const records = vectors("nodeinfo");

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
