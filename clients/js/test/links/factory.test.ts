/** Links whose other end breaks the protocol while they are made. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, random } from "../../src/bytes.js";
import { Identity } from "../../src/identity/keys.js";
import { createNodeInfo } from "../../src/identity/nodeinfo.js";
import { type Accept, type Connection, MemoryStorage, Platform, type Transport } from "../../src/index.js";
import { CookieJar } from "../../src/session/cookies.js";
import { Responder } from "../../src/session/handshake.js";

const PEER = new Identity(new Uint8Array(32).fill(7));
const RECORD = createNodeInfo(PEER, ["bad:"], 1, Math.floor(Date.now() / 1000) + 1000).record;

/** A peer that shakes hands as it should, and then says nonsense about what it has. */
class BadResume implements Transport {
  readonly schemes = ["bad"];
  readonly cost = 10;
  readonly relayed = false;

  attach(): void {}

  async dial(_address: string, _peer: string, accept: Accept): Promise<Connection> {
    const responder = new Responder(PEER, () => RECORD, new CookieJar(random), random);
    const later = (frame: Uint8Array): void => queueMicrotask(() => receiver.frameReceived(frame));
    let over = false;
    const end = (): void => {
      if (!over) queueMicrotask(() => receiver.connectionLost(undefined));
      over = true;
    };
    const write = (frame: Uint8Array): void => {
      if (over) return;
      for (const event of responder.receive(frame.slice(), Date.now() / 1000)) {
        if (event.type === "send") later(event.frame);
        else if (event.type === "identified") later(responder.accept(fromHex("c1"))[0].frame);
      }
    };
    const connection = {
      address: "bad:",
      maxFrame: 65536,
      cost: 10,
      relayed: false,
      write: (frame: Uint8Array) => queueMicrotask(() => write(frame)),
      close: end,
      abort: end,
    };
    const receiver = accept(connection);
    return connection;
  }

  async listen(): Promise<string[]> {
    return [];
  }

  async close(): Promise<void> {}
}

test("a resume state that cannot be read ends the attempt, with the reason", { timeout: 10_000 }, async () => {
  const platform = await Platform.create({ storage: new MemoryStorage(), transports: [new BadResume()] });
  platform.directory.learn(createNodeInfo(PEER, ["bad:"], 1, Math.floor(Date.now() / 1000) + 1000));
  await assert.rejects(platform.connect(PEER.signId, 1), /bad-packet/);
  await platform.close();
});
