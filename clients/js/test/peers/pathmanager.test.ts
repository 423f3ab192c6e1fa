/** Two nodes with a slow way through a middle and a direct one: which is used, and that nothing is lost between them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryStorage, Platform, WebRTC } from "../../src/index.js";
import { Middle, ThroughTheMiddle } from "../support/middle.js";
import { FakeNetwork } from "../support/peerconnection.js";

async function pair(middle: Middle, network: FakeNetwork): Promise<[Platform, Platform]> {
  const make = (): Promise<Platform> =>
    Platform.create({
      storage: new MemoryStorage(),
      relays: ["middle:"],
      transports: [new ThroughTheMiddle(middle), new WebRTC({ make: network.make })],
    });
  const [one, other] = await Promise.all([make(), make()]);
  one.add(other.ticket(), "friends");
  other.add(one.ticket(), "friends");
  return [one, other];
}

const pause = (delay: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delay));

async function on(path: string, ...[one, other]: [Platform, Platform]): Promise<void> {
  while (one.path(other.signId) !== path || other.path(one.signId) !== path) await pause(5);
}

test("a direct link takes over, and gives back when it is cut", { timeout: 20_000 }, async () => {
  const [middle, network] = [new Middle(), new FakeNetwork()];
  const [one, other] = await pair(middle, network);
  const moves: string[] = [];
  one.on("path", (_, address) => moves.push(address));
  await one.connect(other.signId);
  await on("webrtc:", one, other);
  network.reachable = false;
  network.pairs.find(({ closed }) => !closed)!.close();
  await on("middle:", one, other);
  network.reachable = true;
  await on("webrtc:", one, other);
  assert.deepEqual(moves, ["middle:", "webrtc:", "middle:", "webrtc:"]);
  middle.cut();
  while (middle.ends.length < 2) await pause(5); // one through the middle is kept warm
  assert.equal(one.path(other.signId), "webrtc:");
  await Promise.all([one.close(), other.close()]);
});

test("a direct link that falls silent is left", { timeout: 20_000 }, async () => {
  const [middle, network] = [new Middle(), new FakeNetwork()];
  const [one, other] = await pair(middle, network);
  await one.connect(other.signId);
  await on("webrtc:", one, other);
  network.reachable = false;
  for (const { channel } of network.pairs) channel.other = undefined;
  const began = performance.now();
  await (await one.messaging.send("chat", other.signId, "still there?")).received();
  const took = performance.now() - began;
  assert.ok(took > 700 && took < 3000, `${took} ms`);
  assert.equal(one.path(other.signId), "middle:");
  await Promise.all([one.close(), other.close()]);
});

test("links are cut while messages of all sizes flow: each comes once, in order", { timeout: 40_000 }, async () => {
  const COUNT = 2000;
  const [middle, network] = [new Middle(), new FakeNetwork()];
  const nodes = await pair(middle, network);
  const heard = new Map<string, number[]>(nodes.map(({ signId }) => [signId, []]));
  const paths = new Set<string>();
  for (const node of nodes) {
    node.on("path", (_, address) => paths.add(address));
    node.messaging.on(
      "friends.chat",
      (_, sender, payload) => void heard.get(sender)!.push((payload as { number: number }).number),
    );
  }
  const say = async (from: Platform, to: Platform): Promise<void> => {
    for (let number = 0; number < COUNT; number++) {
      const size = number % 200 === 199 ? 300_000 : 10;
      await from.messaging.send("chat", to.signId, { number, fill: new Uint8Array(size) });
      if (number % 20 === 0) await pause(15);
    }
    await from.flush(to.signId);
  };
  await nodes[0].connect(nodes[1].signId);
  await on("webrtc:", ...nodes); // a busy machine may take longer for it than all the messages do
  let cuts = 0;
  const cutting = setInterval(() => {
    if (cuts++ % 3 === 2) middle.cut();
    else network.pairs.find(({ closed }) => !closed)?.close();
  }, 150);
  await Promise.all([say(nodes[0], nodes[1]), say(nodes[1], nodes[0])]);
  clearInterval(cutting);
  await Promise.all(nodes.map((node) => node.close()));
  assert.ok(cuts >= 8 && paths.size === 2, `${cuts} cuts, over ${[...paths].join(", ")}`);
  const all = Array.from({ length: COUNT }, (_, number) => number);
  for (const numbers of heard.values()) assert.deepEqual(numbers, all);
});
