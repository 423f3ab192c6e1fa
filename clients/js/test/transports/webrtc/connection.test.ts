/** docs/protocol/vectors/webrtc.json: signals, descriptions, candidates, pieces; and offers, rates and glare without a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { concat, fromHex, hex } from "../../../src/bytes.js";
import { Rates } from "../../../src/transports/webrtc/protocol/rates.js";
import { WebRTCConnection } from "../../../src/transports/webrtc/connection.js";
import { Assembly, LAST, MORE, split } from "../../../src/transports/webrtc/protocol/pieces.js";
import { candidateLine, chosen, describe, parse, parseCandidate } from "../../../src/transports/webrtc/protocol/sdp.js";
import { decodeSignal, encodeSignal, type Signal } from "../../../src/transports/webrtc/protocol/signalling.js";
import { End, FakeChannel } from "../../support/channel.js";
import { reasonOf, vectors } from "../../support/vectors.js";

const cases = vectors("webrtc");
const KINDS: Signal["kind"][] = ["offer", "answer", "candidate", "end"];

for (const item of cases.signals) {
  test(`signal: ${item.name}`, () => {
    const signal = decodeSignal(fromHex(item.hex));
    assert.deepEqual(signal, { kind: KINDS[item.kind - 1], attempt: fromHex(item.attempt), body: item.body });
    assert.equal(hex(encodeSignal(signal)), item.hex);
  });
}

for (const item of cases.invalidSignals) {
  test(`no signal: ${item.name}`, () => assert.equal(reasonOf(() => decodeSignal(fromHex(item.hex))), "bad-signal"));
}

for (const item of cases.descriptions) {
  test(`description: ${item.name}`, () => {
    const description = parse(item.sdp);
    const { ufrag, password, fingerprint, setup, complete } = description;
    const candidates = description.candidates.map(candidateLine);
    const { name: _, sdp, ...expected } = item;
    assert.deepEqual({ ufrag, password, fingerprint, setup, candidates, complete }, expected);
    assert.equal(describe(description), sdp);
  });
}

for (const item of cases.foreignDescriptions) {
  test(`foreign description: ${item.name}`, () => assert.equal(describe(parse(item.sdp)), item.writtenAnew));
}

for (const item of cases.invalidDescriptions) {
  test(`no description: ${item.name}`, () => assert.equal(reasonOf(() => parse(item.sdp)), "bad-sdp"));
}

for (const item of cases.usefulCandidates) {
  test(`candidate: ${item.name}`, () => assert.ok(parseCandidate(item.line)));
}

for (const item of cases.uselessCandidates) {
  test(`dropped candidate: ${item.name}`, () => assert.equal(parseCandidate(item.line), undefined));
}

for (const item of cases.invalidCandidates) {
  test(`no candidate: ${item.name}`, () => assert.equal(reasonOf(() => parseCandidate(item.line)), "bad-sdp"));
}

test("candidates that others see are tried first", () => {
  const line = (kind: string, port: number): string => `candidate:1 1 udp 1 10.9.0.1 ${port} typ ${kind}`;
  const hosts = Array.from({ length: 12 }, (_, index) => parseCandidate(line("host", 2000 + index))!);
  const found = chosen([...hosts, parseCandidate(line("srflx", 3000))!]);
  assert.equal(found.length, 10);
  assert.equal(found[0]!.port, 3000);
});

function assembled(pieces: string[]): string[] {
  const assembly = new Assembly();
  return pieces.flatMap((piece) => {
    const frame = assembly.add(fromHex(piece));
    return frame ? [hex(frame)] : [];
  });
}

for (const item of cases.pieces) {
  test(`pieces: ${item.name}`, () => {
    assert.deepEqual([...split(fromHex(item.frame), item.size)].map(hex), item.pieces);
    assert.deepEqual(assembled(item.pieces), [item.frame]);
  });
}

for (const item of cases.lenientPieces) {
  test(`pieces of another size: ${item.name}`, () => assert.deepEqual(assembled(item.pieces), [item.frame]));
}

for (const item of cases.invalidPieces) {
  test(`no pieces: ${item.name}`, async () => {
    const { connection, end } = open();
    for (const piece of item.pieces as string[]) connection.received(fromHex(piece).buffer);
    assert.equal((await end.lost)?.message.split(":")[0], item.reason);
  });
}

// A connection.

function open(): { connection: WebRTCConnection; channel: FakeChannel; end: End } {
  const channel = new FakeChannel();
  const end = new End();
  return { connection: new WebRTCConnection(channel, () => end), channel, end };
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

test("ten offers at once, then one a second", () => {
  const rates = new Rates();
  const admitted = (count: number, now: number): number =>
    Array.from({ length: count }, () => rates.admit("a", now)).filter(Boolean).length;
  assert.equal(admitted(20, 0), 10);
  assert.equal(admitted(5, 3), 3);
  assert.ok(rates.admit("b", 3));
  for (let peer = 0; peer < 1024; peer++) rates.admit(String(peer), 3);
  assert.equal(admitted(20, 3), 10); // long forgotten
});
