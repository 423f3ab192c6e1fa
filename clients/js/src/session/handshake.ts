/**
 * The handshake: HELLO, COOKIE, INITIATE, READY (docs/protocol/session.rst, "State machines").
 *
 * A machine takes the one frame its state allows; any other is "wrong-type". A violation kills it: it throws the
 * reason, drops its keys and answers "dead" ever after. No I/O here: what to send and who it is come out as returned
 * values, time and randomness go in as arguments.
 */

import { concat, EMPTY, equal, type Random, utf8 } from "../bytes.js";
import { BadSignature, InvalidRecord, ProtocolError } from "../errors.js";
import { boxIdOf, digest, type Identity, KEY_SIZE, rawKey, type SignId, verify } from "../identity/keys.js";
import { decodeNodeInfo, type NodeInfo } from "../identity/nodeinfo.js";
import * as box from "./box.js";
import type { CookieJar } from "./cookies.js";
import * as packets from "./packets.js";
import { COOKIE, HELLO, INITIATE, NONCE, READY, type Type } from "./packets.js";
import { Session } from "./session.js";

const HELLO_LABEL = utf8("mm1-helo");
const COOKIE_LABEL = utf8("mm1-cook");
const INITIATE_NONCE = concat(utf8("mm1-init"), new Uint8Array(16));
const READY_NONCE = concat(utf8("mm1-redy"), new Uint8Array(16));
const MAX_HELLOS = 3;

export type Event =
  | { type: "send"; frame: Uint8Array }
  /** The client has proven who it is: answer with `accept`. */
  | { type: "identified"; peer: NodeInfo; resume: Uint8Array }
  | { type: "established"; session: Session; peer: NodeInfo; resume: Uint8Array };

type State = "start" | "hello sent" | "initiate sent" | "listening" | "identified" | "done" | "dead";

/** Checks a frame against the state, runs its step, moves on or dies. */
abstract class Machine {
  dead = "";
  protected abstract state: State;
  protected abstract readonly table: Partial<Record<State, Partial<Record<Type, State>>>>;
  protected key = EMPTY;
  protected hashes: Uint8Array[] = [];

  /** Take one frame; `now` is in unix seconds. Throws ProtocolError, after which the machine is dead. */
  receive(frame: Uint8Array, now: number): Event[] {
    this.checkAlive();
    try {
      const type = packets.typeOf(frame);
      const next = this.table[this.state]?.[type];
      if (next === undefined) throw new ProtocolError("wrong-type", `type ${type} is not expected: ${this.state}`);
      packets.checkSize(frame, type);
      const events = this.step(type, frame, now);
      this.state = next;
      return events;
    } catch (error) {
      if (error instanceof ProtocolError) this.die(error.reason);
      throw error;
    }
  }

  protected abstract step(type: Type, frame: Uint8Array, now: number): Event[];

  protected checkCall(state: State): void {
    this.checkAlive();
    if (this.state !== state) throw new ProtocolError("wrong-state", `not possible: ${this.state}`);
  }

  protected wipe(): void {
    this.key.fill(0);
    this.key = EMPTY;
  }

  private checkAlive(): void {
    if (this.dead) throw new ProtocolError("dead", `the handshake ended: ${this.dead}`);
  }

  private die(reason: string): void {
    this.state = "dead";
    this.dead = reason;
    this.wipe();
  }
}

/** The client. `random` is drawn for c' (32 bytes), then HELLO's nonce (16). */
export class Initiator extends Machine {
  protected override state: State = "start";
  protected override readonly table = {
    "hello sent": { [COOKIE]: "initiate sent" },
    "initiate sent": { [READY]: "done" },
  } as const;
  private secret = EMPTY;
  private short = EMPTY;

  constructor(
    private readonly identity: Identity,
    private readonly record: Uint8Array,
    private readonly server: SignId,
    private readonly resume: () => Uint8Array,
    private readonly random: Random,
  ) {
    super();
  }

  /** The first frame. */
  hello(): Uint8Array {
    this.checkCall("start");
    this.secret = this.random(KEY_SIZE).slice();
    this.short = box.publicKeyOf(this.secret);
    this.key = box.agree(rawKey(boxIdOf(this.server)), this.secret);
    const nonce = this.random(NONCE);
    const sealed = box.seal(packets.helloContent(this.short), concat(HELLO_LABEL, nonce), this.key);
    const frame = packets.packHello(this.short, nonce, sealed);
    this.hashes = [digest("mm/1 hello", frame)];
    this.state = "hello sent";
    return frame;
  }

  protected override step(type: Type, frame: Uint8Array, now: number): Event[] {
    return type === COOKIE ? this.cookie(frame) : this.ready(frame, now);
  }

  private cookie(frame: Uint8Array): Event[] {
    const { nonce, box: sealed } = packets.unpackCookie(frame);
    const { serverShort, cookie } = packets.unpackCookieContent(
      unbox(sealed, concat(COOKIE_LABEL, nonce), this.key),
      nonce,
    );
    this.key = box.agree(serverShort, this.secret);
    this.secret.fill(0);
    this.hashes.push(digest("mm/1 cookie", serverShort, cookie));
    const initiate = packets.packInitiate(this.short, cookie, this.introduce());
    this.hashes.push(digest("mm/1 initiate frame", initiate));
    return [{ type: "send", frame: initiate }];
  }

  private introduce(): Uint8Array {
    const resume = this.resume();
    const parts = [...this.hashes, rawKey(this.server), this.record, resume];
    const signature = this.identity.sign("mm/1 initiate", ...parts);
    return box.seal(
      packets.packIntroduction(INITIATE, { record: this.record, signature, resume }),
      INITIATE_NONCE,
      this.key,
    );
  }

  private ready(frame: Uint8Array, now: number): Event[] {
    const { record, resume } = packets.unpackIntroduction(
      READY,
      unbox(packets.unpackReady(frame), READY_NONCE, this.key),
    );
    const peer = readRecord(record, now);
    if (peer.signId !== this.server)
      throw new ProtocolError("wrong-peer", `dialled ${this.server}, answered by ${peer.signId}`);
    const session = Session.ofClient(this.key, transcript(this.hashes, frame));
    this.wipe();
    return [{ type: "established", session, peer, resume }];
  }
}

/**
 * The server. `random` is drawn for the link id (16 bytes) at once, then at each HELLO for s' (32) and the cookie's
 * nonce (16).
 */
export class Responder extends Machine {
  protected override state: State = "listening";
  protected override readonly table = { listening: { [HELLO]: "listening", [INITIATE]: "identified" } } as const;
  private readonly linkId: Uint8Array;
  private hellos = 0;
  private peer: NodeInfo | undefined;
  private peerResume = EMPTY;

  constructor(
    private readonly identity: Identity,
    private readonly record: () => Uint8Array,
    private readonly jar: CookieJar,
    private readonly random: Random,
  ) {
    super();
    this.linkId = random(16);
  }

  /** Answer "identified": READY to send, and the session. A resume too long is refused and may be tried again. */
  accept(resume: Uint8Array): [{ type: "send"; frame: Uint8Array }, Extract<Event, { type: "established" }>] {
    this.checkCall("identified");
    const content = packets.packIntroduction(READY, { record: this.record(), signature: EMPTY, resume });
    const ready = packets.packReady(box.seal(content, READY_NONCE, this.key));
    const session = Session.ofServer(this.key, transcript(this.hashes, ready));
    this.state = "done";
    this.wipe();
    return [
      { type: "send", frame: ready },
      { type: "established", session, peer: this.peer!, resume: this.peerResume },
    ];
  }

  protected override step(type: Type, frame: Uint8Array, now: number): Event[] {
    return type === HELLO ? this.hello(frame, now) : this.initiate(frame, now);
  }

  private hello(frame: Uint8Array, now: number): Event[] {
    if (++this.hellos > MAX_HELLOS) throw new ProtocolError("too-many-hellos", `a link may send ${MAX_HELLOS}`);
    const { clientShort, nonce: helloNonce, box: sealed } = packets.unpackHello(frame);
    const key = box.agree(clientShort, this.identity.boxSecret);
    if (!equal(unbox(sealed, concat(HELLO_LABEL, helloNonce), key), packets.helloContent(clientShort))) {
      throw new ProtocolError("bad-content", "HELLO's box does not repeat its header and key");
    }
    const secret = this.random(KEY_SIZE);
    const nonce = this.random(NONCE);
    const cookie = this.jar.issue(nonce, clientShort, secret, this.linkId, digest("mm/1 hello", frame), now);
    const content = packets.cookieContent(box.publicKeyOf(secret), cookie);
    return [{ type: "send", frame: packets.packCookie(nonce, box.seal(content, concat(COOKIE_LABEL, nonce), key)) }];
  }

  private initiate(frame: Uint8Array, now: number): Event[] {
    const { clientShort, cookie, box: sealed } = packets.unpackInitiate(frame);
    const opened = this.jar.open(cookie, clientShort, this.linkId, now);
    const key = box.agree(clientShort, opened.serverSecret);
    const { record, signature, resume } = packets.unpackIntroduction(INITIATE, unbox(sealed, INITIATE_NONCE, key));
    const hashes = [opened.helloHash, digest("mm/1 cookie", box.publicKeyOf(opened.serverSecret), cookie)];
    const peer = readRecord(record, now);
    try {
      verify(rawKey(peer.signId), signature, "mm/1 initiate", ...hashes, this.identity.signKey, record, resume);
    } catch (error) {
      if (error instanceof BadSignature) throw new ProtocolError("bad-signature", `the client is not ${peer.signId}`);
      throw error;
    }
    opened.spend();
    this.key = key;
    this.hashes = [...hashes, digest("mm/1 initiate frame", frame)];
    this.peer = peer;
    this.peerResume = resume;
    return [{ type: "identified", peer, resume }];
  }
}

/** The hash of all four frames, which the keys of DATA are bound to. */
function transcript(hashes: Uint8Array[], ready: Uint8Array): Uint8Array {
  return digest("mm/1 session", ...hashes, digest("mm/1 ready", ready));
}

function unbox(sealed: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const content = box.open(sealed, nonce, key);
  if (content === undefined) throw new ProtocolError("bad-box", "not sealed for this key, or altered");
  return content;
}

function readRecord(record: Uint8Array, now: number): NodeInfo {
  try {
    return decodeNodeInfo(record, now);
  } catch (error) {
    if (error instanceof InvalidRecord) throw new ProtocolError("bad-record", error.message);
    throw error;
  }
}
