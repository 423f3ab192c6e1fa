/** The other end of tests in Python: one JSON command a line in, one answer a line out. */

import { createInterface } from "node:readline";

import { fromHex, hex, random } from "../src/bytes.js";
import { encode } from "../src/codec.js";
import { decodePacket, encodePacket } from "../src/delivery/wire.js";
import { Identity, type SignId } from "../src/identity/keys.js";
import { createNodeInfo } from "../src/identity/nodeinfo.js";
import { parseTicket, ticket } from "../src/identity/ticket.js";
import { type Delivery, MemoryStorage, NotAllDelivered, Platform } from "../src/index.js";
import { CookieJar } from "../src/session/cookies.js";
import { type Event, Initiator, Responder } from "../src/session/handshake.js";
import type { Session } from "../src/session/session.js";
import { Assembly, split } from "../src/transports/webrtc/protocol/pieces.js";
import { describe, parse } from "../src/transports/webrtc/protocol/sdp.js";
import { decodeSignal, encodeSignal } from "../src/transports/webrtc/protocol/signalling.js";

// biome-ignore lint/suspicious/noExplicitAny: commands of many shapes
type Command = any;

const YEAR = 365 * 24 * 3600;
const now = (): number => Date.now() / 1000;
const storage = new MemoryStorage();
let machine: Initiator | Responder;
let session: Session;
let platform: Platform;
const deliveries: Delivery[] = [];
let heard: unknown[][] = [];
let generatorsClosed = 0;

function told(events: Event[]): unknown[] {
  return events.map((event) => {
    if (event.type === "send") return [event.type, hex(event.frame)];
    if (event.type === "established") session = event.session;
    return [event.type, event.peer.signId, hex(event.resume)];
  });
}

/** A parser: takes a map with a number in it. */
function celsius(value: unknown): number {
  const { celsius: found } = value as { celsius?: unknown };
  if (typeof found !== "number") throw new TypeError("celsius is a number");
  return found;
}

function recordOf(identity: Identity): Uint8Array {
  return createNodeInfo(identity, ["tcp://192.0.2.1:1"], Date.now(), Math.floor(now()) + YEAR).record;
}

const commands: Record<string, (command: Command) => unknown> = {
  initiator: ({ seed, server, resume }) => {
    const identity = new Identity(fromHex(seed));
    machine = new Initiator(identity, recordOf(identity), server as SignId, () => fromHex(resume), random);
    return hex(machine.hello());
  },
  responder: ({ seed }) => {
    const identity = new Identity(fromHex(seed));
    machine = new Responder(identity, () => recordOf(identity), new CookieJar(random), random);
    return identity.signId;
  },
  receive: ({ frame }) => told(machine.receive(fromHex(frame), now())),
  accept: ({ resume }) => told((machine as Responder).accept(fromHex(resume))),
  seal: ({ plaintext }) => hex(session.seal(fromHex(plaintext))),
  open: ({ frame }) => hex(session.open(fromHex(frame))),
  repack: ({ packet }) => hex(encodePacket(decodePacket(fromHex(packet)))),
  ticket: ({ seed }) => {
    const identity = new Identity(fromHex(seed));
    return ticket(
      parseTicket(ticket(createNodeInfo(identity, ["relay+wss://a.example/x"], 1, Math.floor(now()) + YEAR)), now()),
    );
  },
  readTicket: ({ ticket: text }) => {
    const info = parseTicket(text, now());
    return [info.signId, info.boxId, info.addresses];
  },
  split: ({ frame, size }) => Array.from(split(fromHex(frame), size), hex),
  assemble: ({ pieces }) => {
    const assembly = new Assembly();
    return (pieces as string[])
      .map((piece) => assembly.add(fromHex(piece)))
      .map((frame) => (frame ? hex(frame) : null));
  },
  signal: ({ signal }) => hex(encodeSignal(decodeSignal(fromHex(signal)))),
  description: ({ sdp }) => describe(parse(sdp)),
  // A whole node.
  start: async ({ relays }) => {
    platform = await Platform.create({ storage, relays });
    platform.on("error", (error, topic) => heard.push(["error", topic, error.message]));
    platform.messaging.on("*.chat.>", (name, sender, payload) => {
      heard.push([name, sender, payload]);
    });
    platform.messaging.on("friends.add", (_, __, payload) => (payload as number[]).reduce((sum, one) => sum + one, 0));
    platform.messaging.on("friends.fail", () => {
      throw new TypeError("no");
    });
    platform.messaging.on("friends.count", async function* (_, __, payload) {
      try {
        for (let number = 0; number < (payload as number); number++) yield number;
        if (payload === 1) throw new TypeError("no more");
      } finally {
        generatorsClosed++;
      }
    });
    platform.messaging.on("friends.waits", async function* (_, __, ___, signal) {
      try {
        yield 0;
        await new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason as Error)));
      } finally {
        generatorsClosed++;
      }
    });
    platform.messaging.on("*.celsius", (_, __, celsius) => celsius, { parse: celsius });
    platform.messaging.on("friends.large", async function* (_, __, payload) {
      for (const size of payload as number[]) yield new Uint8Array(size);
    });
    return { signId: platform.signId, ticket: platform.ticket() };
  },
  stop: () => platform.close(),
  setUp: () => platform.setUp(),
  asking: () => platform.asking().map(({ peer }) => peer),
  // Handlers that come late, or throw; and one message after the other.
  listen: ({ topic, fails }) => {
    platform.messaging.on(
      topic,
      (name, sender, payload) => {
        heard.push([name, sender, payload]);
        if (fails) throw new RangeError("too far");
      },
      { retries: 1, backoff: 0.01 },
    );
  },
  post: async ({ topic, peer, payload }) => {
    deliveries.push(await platform.messaging.send(topic, peer, payload));
    return deliveries.length - 1;
  },
  received: async ({ delivery }) => {
    await deliveries[delivery]!.received();
    return deliveries[delivery]!.state;
  },
  end: ({ delivery }) =>
    deliveries[delivery]!.done().then(
      ({ state }) => state,
      (error: Error) => `${error.name}: ${error.message.split(": ").slice(1).join(": ")}`,
    ),
  inbox: async ({ failed }) => (await platform.inbox.list({ failed })).map(({ payload, error }) => [payload, error]),
  add: ({ ticket: text, circle }) => platform.add(text, circle),
  connect: ({ peer }) => platform.connect(peer),
  ping: ({ peer }) => platform.ping(peer),
  send: async ({ topic, peer, payloads, size, options }) => {
    const sent = (payloads as unknown[]).map((payload) =>
      platform.messaging.send(topic, peer, size ? { payload, fill: new Uint8Array(size) } : payload, options),
    );
    return (await Promise.all(sent)).map(({ state }) => state);
  },
  outcome: async ({ topic, peer, payload }) => {
    const delivery = await platform.messaging.send(topic, peer, payload);
    return delivery.done().catch((error: Error) => error.name);
  },
  request: ({ topic, peer, payload }) =>
    platform.messaging.request(topic, peer, payload).catch((error: Error) => `${error.name}: ${error.message}`),
  // As many of many replies as are to be taken, and the error that ended them.
  many: async ({ topic, peer, payload, take = Infinity, timeout = 10 }) => {
    const replies: unknown[] = [];
    try {
      for await (const reply of platform.messaging.requestMany(topic, peer, payload, { timeout })) {
        replies.push(reply instanceof Uint8Array ? reply.length : reply);
        if (replies.length === take) break;
      }
    } catch (error) {
      return { replies, error: `${(error as Error).name}: ${(error as Error).message}` };
    }
    return { replies, error: "" };
  },
  generatorsClosed: () => generatorsClosed,
  makeList: ({ name, peers }) => platform.contacts.lists.make(name, ...(peers as string[])),
  sendToAll: async ({ topic, peers, payload }) => {
    try {
      const { state } = await (await platform.messaging.send(topic, peers as string[], payload)).done();
      return { state, failed: {} };
    } catch (error) {
      if (!(error instanceof NotAllDelivered)) throw error;
      const failed = Array.from(error.failed, ([peer, { name }]) => [peer, name]);
      return { state: "", failed: Object.fromEntries(failed) as object };
    }
  },
  celsius: ({ peer }) =>
    platform.messaging
      .request("celsius", peer, null, { parse: celsius })
      .catch((error: Error) => `${error.name}: ${error.message}`),
  flush: ({ peer }) => platform.flush(peer),
  mailed: async ({ peer }) => {
    while (platform.outbox.sender(peer).letter(1000).batches.length) await new Promise((go) => setTimeout(go, 10));
  },
  heard: () => {
    const all = heard;
    heard = [];
    return all.map((one) => hex(encode(one)));
  },
};

function answer(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const command = JSON.parse(line) as Command;
  try {
    const result = await commands[command.do]!(command);
    answer({ id: command.id, result: result ?? null });
  } catch (error) {
    answer({ id: command.id, error: `${(error as Error).name}: ${(error as Error).message}` });
  }
});
lines.on("close", () => process.exit(0));
