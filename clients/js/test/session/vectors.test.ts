/** docs/protocol/vectors/session.json: another implementation's bytes, checked at every step. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY, fromHex, hex } from "../../src/bytes.js";
import { Identity } from "../../src/identity/keys.js";
import { CookieJar } from "../../src/session/cookies.js";
import { type Event, Initiator, Responder } from "../../src/session/handshake.js";
import { dataKeys } from "../../src/session/session.js";
import { type Case, reasonOf, scripted, vectors } from "../support/vectors.js";

const cases = vectors("session");

function machines(item: Case): { initiator: Initiator; responder: Responder } {
  const client = new Identity(fromHex(item.client.seed));
  const server = new Identity(fromHex(item.server.seed));
  const later = item.jar_key.match(/../g).reverse().join("");
  const jar = new CookieJar(scripted(item.jar_key, later, item.jar_key));
  return {
    initiator: new Initiator(
      client,
      fromHex(item.client.record),
      server.signId,
      () => fromHex(item.client.resume),
      scripted(...item.client.draws),
    ),
    responder: new Responder(server, () => fromHex(item.server.record), jar, scripted(...item.server.draws)),
  };
}

function only<T extends Event["type"]>(events: Event[], type: T): Extract<Event, { type: T }> {
  const found = events.filter((event) => event.type === type);
  assert.equal(found.length, 1);
  return found[0] as Extract<Event, { type: T }>;
}

for (const [index, item] of cases.valid.entries()) {
  test(`session: ${item.name}`, () => {
    const { initiator, responder } = machines(item);
    const hello = initiator.hello();
    assert.equal(hex(hello), item.hello);
    const cookie = only(responder.receive(hello, item.now), "send").frame;
    assert.equal(hex(cookie), item.cookie_frame);
    const initiate = only(initiator.receive(cookie, item.now), "send").frame;
    assert.equal(hex(initiate), item.initiate);
    const identified = only(responder.receive(initiate, item.initiate_at), "identified");
    assert.equal(identified.peer.signId, item.client.sign_id);
    assert.equal(hex(identified.resume), item.client.resume);
    const [ready, atServer] = responder.accept(fromHex(item.server.resume));
    assert.equal(hex(ready.frame), item.ready);
    const atClient = only(initiator.receive(ready.frame, item.initiate_at), "established");
    assert.equal(hex(atClient.resume), item.server.resume);
    const [client, server] = [atClient.session, atServer.session];
    const counts = { client: 0, server: 0 };
    for (const row of item.data) {
      if (index > 0 && row.number > 1) continue; // sealing 131072 frames each way takes seconds: once is enough
      const from = row.from as "client" | "server";
      const [sender, receiver] = from === "client" ? [client, server] : [server, client];
      for (; counts[from] < row.number; counts[from]++) receiver.open(sender.seal(EMPTY));
      const frame = sender.seal(fromHex(row.plaintext));
      assert.equal(hex(frame), row.frame);
      assert.equal(hex(receiver.open(frame)), row.plaintext);
      counts[from]++;
    }
    assert.deepEqual(dataKeys(fromHex(item.key), fromHex(item.transcript_hash)).map(hex), item.data_keys);
  });
}

for (const item of cases.invalid) {
  test(`no session: ${item.name}`, () => {
    const { initiator, responder } = machines(item);
    initiator.hello();
    const machine = item.machine === "client" ? initiator : responder;
    for (const frame of item.before) machine.receive(fromHex(frame), item.now);
    const frame = new Uint8Array([...fromHex(item.frame), ...new Uint8Array(item.zeros_after ?? 0)]);
    assert.equal(
      reasonOf(() => machine.receive(frame, item.initiate_at)),
      item.reason,
    );
    assert.equal(machine.dead, item.reason);
    assert.equal(
      reasonOf(() => machine.receive(frame, item.initiate_at)),
      "dead",
    );
  });
}

test("a cookie is good once", () => {
  const { initiator, responder } = machines(cases.valid[0]);
  const jar = new CookieJar(scripted("11".repeat(32), "22".repeat(32), "33".repeat(32)));
  const cookie = jar.issue(
    new Uint8Array(16),
    new Uint8Array(32),
    new Uint8Array(32),
    new Uint8Array(16),
    new Uint8Array(32),
    100,
  );
  jar.open(cookie, new Uint8Array(32), new Uint8Array(16), 101).spend();
  assert.equal(
    reasonOf(() => jar.open(cookie, new Uint8Array(32), new Uint8Array(16), 102)),
    "spent-cookie",
  );
  assert.equal(
    reasonOf(() => responder.accept(EMPTY)),
    "wrong-state",
  );
  initiator.hello();
  assert.equal(
    reasonOf(() => initiator.hello()),
    "wrong-state",
  );
});
