/** How two WebRTC transports agree on a channel: offers both ways, glare, and the word for everything that goes wrong. */

import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";

import { hex } from "../../../src/bytes.js";
import type { Unreachable } from "../../../src/errors.js";
import { Identity, type SignId } from "../../../src/identity/keys.js";
import type { Connection, TransportHost } from "../../../src/plugins/transport.js";
import { parse } from "../../../src/transports/webrtc/protocol/sdp.js";
import { decodeSignal, encodeSignal, type Signal } from "../../../src/transports/webrtc/protocol/signalling.js";
import { WebRTC } from "../../../src/transports/webrtc/transport.js";
import { End } from "../../support/channel.js";
import { FakeNetwork } from "../../support/peerconnection.js";

const keys = [1, 2].map((seed) => new Identity(new Uint8Array(32).fill(seed)));
const [SMALL, LARGE] = keys.sort((a, b) => (a.signId < b.signId ? -1 : 1)) as [Identity, Identity];

const open: Connection[] = [];

/** A platform as its transport sees it; `passes` says of a signal whether the other hears it, `said` has them all. */
class Node {
  other: Node | undefined;
  trusting = true;
  readonly said: Signal[] = [];
  passes: (signal: Signal) => boolean = () => true;
  readonly came: { end: End; connection: Connection }[] = [];
  readonly webrtc: WebRTC;

  constructor(
    readonly identity: Identity,
    network: FakeNetwork,
    iceServers: RTCIceServer[] = [],
  ) {
    this.webrtc = new WebRTC({ make: network.make, iceServers });
    this.webrtc.attach(this as unknown as TransportHost);
  }

  trusts(): boolean {
    return this.trusting;
  }

  linked(): boolean {
    return this.other !== undefined;
  }

  signal(_peer: SignId, scheme: string, data: Uint8Array): boolean {
    assert.equal(scheme, "webrtc");
    const { other } = this;
    if (!other) return false;
    const signal = decodeSignal(data);
    this.said.push(signal);
    if (this.passes(signal)) queueMicrotask(() => other.webrtc.signalled(this.identity.signId, data));
    return true;
  }

  say(kind: Signal["kind"], body: string, attempt = new Uint8Array(8)): void {
    this.signal(this.other!.identity.signId, "webrtc", encodeSignal({ kind, attempt, body }));
  }

  get kinds(): string[] {
    return this.said.map(({ kind }) => kind);
  }

  readonly accept = (connection: Connection): End => {
    const end = new End();
    this.came.push({ end, connection });
    open.push(connection);
    return end;
  };

  dial(): Promise<string> {
    const dialled = this.webrtc.dial("webrtc:", this.other!.identity.signId, this.accept);
    return dialled.then(
      () => "open",
      (error: Unreachable) => error.message,
    );
  }
}

async function two(network = new FakeNetwork(), iceServers: RTCIceServer[] = []): Promise<[Node, Node]> {
  const [small, large] = [new Node(SMALL, network, iceServers), new Node(LARGE, network)];
  [small.other, large.other] = [large, small];
  for (const node of [small, large]) await node.webrtc.listen("webrtc:", node.accept);
  return [small, large];
}

after(() => {
  for (const connection of open) connection.abort();
});

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The answer to a dial that ends by a timer. */
async function inTime(context: TestContext, dial: () => Promise<string>): Promise<string> {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const answer = dial();
  await settled();
  context.mock.timers.tick(8000);
  return answer;
}

test("an offer, its answer, and frames both ways", async () => {
  const network = new FakeNetwork();
  const [small, large] = await two(network, [{ urls: "stun:192.0.2.1" }]);
  assert.equal(await small.dial(), "open");
  await settled();
  assert.deepEqual([small.kinds, large.kinds], [["offer"], ["answer"]]);
  assert.deepEqual(
    network.pairs.map(({ configuration }) => configuration.iceServers),
    [[{ urls: "stun:192.0.2.1" }], []],
  );
  const [one, other] = [small.came[0]!, large.came[0]!];
  one.connection.write(new Uint8Array(40_000).fill(7));
  other.connection.write(Uint8Array.of(9));
  await settled();
  assert.deepEqual([one.end.frames, other.end.frames], [["09"], ["07".repeat(40_000)]]);
  one.connection.close();
  assert.deepEqual(await Promise.all([one.end.lost, other.end.lost]), [undefined, undefined]);
});

test("a stranger's candidates inside, at first or later, are not tried", async () => {
  const network = new FakeNetwork();
  const [small, large] = await two(network);
  large.trusting = false;
  const dialled = small.dial();
  await settled();
  small.say("candidate", "candidate:1 1 udp 1 192.168.1.1 5000 typ host", Uint8Array.from(small.said[0]!.attempt));
  assert.match(await dialled, /^webrtc: failed: said the peer/);
  assert.deepEqual([large.kinds, network.pairs.flatMap(({ added }) => added)], [["end"], []]);
});

test("both offer at once: the offer of the smaller key stays", async () => {
  const [small, large] = await two();
  const answers = await Promise.all([small.dial(), large.dial()]);
  assert.equal(answers[0], "open");
  assert.match(answers[1], /^webrtc: crossed/);
  await settled();
  assert.deepEqual([small.came.length, large.came.length], [1, 1]);
  assert.ok(!small.kinds.includes("answer") && large.kinds.includes("answer"));
});

test("an offer that was lost in the crossing is sent once more", async () => {
  const [small, large] = await two();
  let lost = 0;
  small.passes = ({ kind }) => kind !== "offer" || lost++ > 0;
  const first = small.dial();
  await settled();
  assert.match(await large.dial(), /^webrtc: crossed/);
  assert.equal(await first, "open");
});

test("reason words", async (context) => {
  const [small, large] = await two();
  const first = small.dial();
  assert.match(await small.dial(), /^webrtc: busy/);
  await first;
  small.other = undefined;
  assert.match(
    (await small.webrtc.dial("webrtc:", LARGE.signId, small.accept).catch((error: Error) => error.message)) as string,
    /^webrtc: no-link/,
  );
  small.other = large;
  await large.webrtc.close();
  assert.match(await small.dial(), /^webrtc: not-listening: said the peer/);
  await small.webrtc.close();
  assert.match(await small.dial(), /^webrtc: stopping/);
  assert.match(
    await inTime(context, async () => {
      const [lonely] = await two();
      lonely.passes = () => false;
      return lonely.dial();
    }),
    /^webrtc: no-answer/,
  );
});

test("nothing gets through", async (context) => {
  const network = new FakeNetwork();
  network.reachable = false;
  const [small, large] = await two(network);
  assert.match(await inTime(context, () => small.dial()), /^webrtc: failed/);
  await settled();
  assert.deepEqual([small.kinds.at(-1), large.kinds], ["end", ["answer"]]); // who was told does not tell
  assert.ok(network.pairs.every(({ closed }) => closed));
});

test("a handshake that fails, or does not end, is named, to the peer as well", async (context) => {
  for (const [dtls, word] of [
    ["failed", "dtls-failed"],
    ["connecting", "dtls-stuck"],
  ] as const) {
    const network = new FakeNetwork();
    network.reachable = false;
    network.dtls = dtls;
    const [small] = await two(network);
    assert.match(await inTime(context, () => small.dial()), new RegExp(`^webrtc: ${word}: .*DTLS`));
    await settled();
    assert.equal(small.said.at(-1)!.body, word);
    context.mock.timers.reset();
  }
});

test("no way out, though a server was asked", async (context) => {
  const network = new FakeNetwork();
  network.reachable = false;
  const [small] = await two(network, [{ urls: "stun:192.0.2.1" }]);
  assert.match(await inTime(context, () => small.dial()), /^webrtc: udp-blocked/);
});

test("no address to be reached at", async () => {
  const network = new FakeNetwork();
  network.candidates = false;
  const [small] = await two(network);
  assert.match(await small.dial(), /^webrtc: no-candidates/);
});

test("candidates that are found late follow", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const network = new FakeNetwork();
  network.gathers = network.reachable = false;
  const [small] = await two(network);
  const dialled = small.dial();
  await settled();
  context.mock.timers.tick(1500);
  await settled();
  context.mock.timers.tick(1500);
  await settled();
  const [ours, theirs] = network.pairs;
  assert.equal(parse(small.said[0]!.body).complete, false);
  ours!.onicecandidate!({ candidate: { candidate: "candidate:5 1 udp 7 10.9.0.2 6000 typ host generation 0" } });
  ours!.onicecandidate!({ candidate: { candidate: "candidate:5 1 udp 7 127.0.0.1 6000 typ host" } });
  ours!.onicecandidate!({ candidate: null });
  await settled();
  assert.deepEqual(theirs!.added, ["candidate:5 1 udp 7 10.9.0.2 6000 typ host", ""]);
  await small.webrtc.close();
  await dialled;
});

test("what is refused without an attempt", async () => {
  const network = new FakeNetwork();
  const [small, large] = await two(network);
  small.say("offer", "nonsense");
  small.say("answer", "", new Uint8Array(8).fill(1));
  small.say("candidate", "", new Uint8Array(8).fill(2));
  small.webrtc.signalled(LARGE.signId, Uint8Array.of(1, 2, 3));
  await settled();
  assert.deepEqual(
    large.said.map(({ attempt, body }) => [hex(attempt)[1], body]),
    [
      ["0", "bad-sdp"],
      ["1", "gone"],
    ],
  );
  for (let count = 0; count < 42; count++) small.say("offer", "nonsense", new Uint8Array(8).fill(9));
  await settled();
  assert.deepEqual(
    large.said
      .slice(2)
      .map(({ body }) => body)
      .sort(),
    [...Array(39).fill("bad-sdp"), ...Array(3).fill("busy")].sort(),
  );
  assert.equal(network.pairs.length, 0);
});

test("an offer is answered once", async () => {
  const [small, large] = await two();
  await small.dial();
  await settled();
  large.webrtc.signalled(SMALL.signId, encodeSignal(small.said[0]!));
  await settled();
  assert.deepEqual(large.kinds, ["answer"]);
});

test("another channel, and a failure underneath, end it", async () => {
  for (const how of ["ondatachannel", "onconnectionstatechange"] as const) {
    const network = new FakeNetwork();
    const [small] = await two(network);
    await small.dial();
    network.pairs[0]!.connectionState = "failed";
    network.pairs[0]![how]!();
    assert.match((await small.came[0]!.end.lost)!.message, /the channel was closed/);
  }
});
