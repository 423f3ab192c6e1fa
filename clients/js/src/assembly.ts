/**
 * Which storage, identity, run and transports a node is made of.
 *
 *     node/identity   the secret key
 */

import { beginRun, type Run } from "./durable/runs.js";
import { Identity } from "./identity/keys.js";
import { schemeOf, type Transport, transportOf } from "./plugins/transport.js";
import type { Storage } from "./storage/contract.js";
import { IndexedDBStorage } from "./storage/indexeddb.js";
import { MemoryStorage } from "./storage/memory.js";
import { Relay } from "./transports/relay/transport.js";
import { ADDRESS as DIRECT } from "./transports/webrtc/connection.js";
import { hasWebRTC, WebRTC } from "./transports/webrtc/transport.js";

const IDENTITY = "node/identity";

export interface Options {
  /** What is kept over a reload: IndexedDB where there is one, else memory, unless told. */
  storage?: Storage;
  /** Home relays, where others reach us: `relay+wss://host/KEY`. */
  relays?: readonly string[];
  /** Further ways to move frames. */
  transports?: readonly Transport[];
  /** STUN and TURN servers for direct links (WebRTC); by default none, so that nobody is asked. */
  iceServers?: RTCIceServer[];
  /** Whether direct links are made, where the browser can: peers then learn our IP addresses. On by default. */
  direct?: boolean;
}

/** `saved` has the rows of the node, as they were before this run; `hints` say where to listen. */
export interface Assembly {
  readonly storage: Storage;
  readonly saved: ReadonlyMap<string, Uint8Array>;
  readonly identity: Identity;
  readonly run: Run;
  readonly transports: readonly Transport[];
  readonly hints: readonly string[];
}

/** Throws LocalError, IdentityError or StorageError. */
export async function assemble(options: Options): Promise<Assembly> {
  const storage = options.storage ?? ("indexedDB" in globalThis ? await IndexedDBStorage.open() : new MemoryStorage());
  const saved = new Map(await storage.read("node/"));
  const identity = await ownIdentity(storage, saved);
  const transports = transportsOf(options);
  const direct = transportOf(schemeOf(DIRECT), transports) ? [DIRECT] : [];
  return {
    storage,
    saved,
    identity,
    run: await beginRun(storage, saved),
    transports,
    hints: [...(options.relays ?? []), ...direct],
  };
}

function transportsOf({ transports = [], iceServers = [], direct = true }: Options): Transport[] {
  const given = transports.flatMap(({ schemes }) => schemes);
  const webrtc = direct && hasWebRTC() && !given.includes(schemeOf(DIRECT)) ? [new WebRTC({ iceServers })] : [];
  return [new Relay(), ...webrtc, ...transports];
}

/** The key of this node; made and kept when there is none. One that is there and cannot be used is never replaced. */
async function ownIdentity(storage: Storage, saved: ReadonlyMap<string, Uint8Array>): Promise<Identity> {
  const secret = saved.get(IDENTITY);
  if (secret) return Identity.fromSecret(secret);
  const identity = Identity.generate();
  await storage.write([[IDENTITY, identity.secret()]], true);
  return identity;
}
