/** A data channel as a connection: pieces that end it, back-pressure, the heartbeat, and the close both ways. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { concat, fromHex } from "../../../src/bytes.js";
import { WebRTCConnection } from "../../../src/transports/webrtc/connection.js";
import { LAST, MORE } from "../../../src/transports/webrtc/protocol/pieces.js";
import { End, FakeChannel } from "../../support/channel.js";
import { vectors } from "../../support/vectors.js";

const cases = vectors("webrtc");

function open(): { connection: WebRTCConnection; channel: FakeChannel; end: End } {
  const channel = new FakeChannel();
  const end = new End();
  return { connection: new WebRTCConnection(channel, () => end), channel, end };
}

for (const item of cases.invalidPieces) {
  test(`no pieces: ${item.name}`, async () => {
    const { connection, end } = open();
    for (const piece of item.pieces as string[]) connection.received(fromHex(piece).buffer);
    assert.equal((await end.lost)?.message.split(":")[0], item.reason);
  });
}

test("a frame that is too long ends it", async () => {
  const { connection, end, channel } = open();
  const piece = concat(Uint8Array.of(MORE), new Uint8Array(16383));
  for (let count = 0; count < 17; count++) connection.received(piece.slice().buffer);
  assert.match((await end.lost)!.message, /^too-long/);
  assert.ok(channel.closed);
});

test("text ends it", async () => {
  const { connection, end } = open();
  connection.received("text");
  assert.match((await end.lost)!.message, /^bad-piece/);
});

test("frames come whole and in order, pings between their pieces are answered", () => {
  const { connection, end, channel } = open();
  connection.received(Uint8Array.of(MORE, 1, 2).buffer);
  connection.received(Uint8Array.of(2).buffer);
  connection.received(Uint8Array.of(LAST, 3).buffer);
  connection.received(Uint8Array.of(LAST).buffer);
  assert.deepEqual(end.frames, ["010203", ""]);
  assert.deepEqual(channel.sent, ["03"]);
  connection.abort();
});

test("it pauses above the high water mark and resumes once drained", () => {
  const { connection, end, channel } = open();
  channel.buffered = 256 * 1024 + 1;
  connection.write(new Uint8Array(1));
  assert.deepEqual(end.calls, ["pause"]);
  connection.received(Uint8Array.of(2).buffer);
  assert.deepEqual(channel.sent, ["0100"]); // no answer to one that asks and does not read
  connection.drained();
  connection.drained();
  assert.deepEqual(end.calls, ["pause", "resume"]);
  connection.abort();
});

test("who closes says so, and waits for the other end", async () => {
  const { connection, end, channel } = open();
  connection.close();
  connection.write(Uint8Array.of(1));
  connection.received(Uint8Array.of(LAST, 1).buffer);
  assert.deepEqual([channel.sent, channel.closed, end.frames], [["04"], false, []]);
  connection.ended();
  assert.equal(await end.lost, undefined);
});

test("END closes it in order, a channel that is gone does not", async () => {
  const one = open();
  one.connection.received(Uint8Array.of(4, 9, 9).buffer);
  assert.equal(await one.end.lost, undefined);
  assert.ok(one.channel.closed);
  const other = open();
  other.connection.ended();
  assert.match((await other.end.lost)!.message, /the channel was closed/);
});

test("silence is answered by a question, then by the end", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, end, channel } = open();
  context.mock.timers.tick(1250); // it was heard when it opened
  context.mock.timers.tick(1250);
  assert.deepEqual(channel.sent, ["02"]);
  connection.received(Uint8Array.of(3).buffer);
  context.mock.timers.tick(1250 * 3);
  assert.deepEqual(channel.sent, ["02", "02"]);
  assert.equal(channel.closed, false);
  context.mock.timers.tick(1250);
  assert.match((await end.lost)!.message, /dead/);
});

test("what is acknowledged underneath is a sign of life", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, channel } = open();
  for (let left = 10; left > 0; left--) {
    channel.buffered = left;
    context.mock.timers.tick(1250);
  }
  assert.equal(channel.closed, false);
  connection.abort();
});
