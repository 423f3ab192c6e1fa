/** docs/protocol/vectors/identity.json: keys and signatures. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../src/bytes.js";
import { BadSignature, InvalidKey } from "../../src/errors.js";
import { digest, Identity, labelled, parseSignId, rawKey, verify } from "../../src/identity/keys.js";
import { vectors } from "../support/vectors.js";

const identities = vectors("identity");

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

test("signatures that only some libraries take verify nowhere", () => {
  const cases = {
    "a key of mixed order":
      "b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b e6050df522ee2d93ab024997bee05d000a4c6dcf2f3acb8c6cc79499ed9422dbf6edee9190329d2a307eee87deb6045304407fd191032e2c62df663d6ee02606",
    "R of mixed order":
      "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572 2856536c4aeeeb789bd4c703a54587280a914c7e7b9054f42dda4012e369282ceaca4d1eb72d57a5cc541792ca93247eb92b41d5ed9c6ddae1b06ba8f55f7708",
    "R of low order":
      "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572 0100000000000000000000000000000000000000000000000000000000000000306f9708abaaecb2d6740dfcf3a6fe2c505a4cc4d61fbcd5be8662d0d3763a0a",
  };
  for (const [name, both] of Object.entries(cases)) {
    const [key, signature] = both.split(" ") as [string, string];
    assert.equal(hex(fromHex(key)), key);
    assert.throws(() => verify(fromHex(key), fromHex(signature), "mm/1 test", new Uint8Array([0x78])), name);
  }
});
