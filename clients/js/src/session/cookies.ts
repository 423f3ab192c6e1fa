/**
 * Cookies: what the server must remember of a HELLO, kept by the client (docs/protocol/session.rst, "Cookies"). One jar
 * serves all links of a node. Spent cookies are remembered exactly as long as their key, never less.
 */

import { bigEndian, concat, equal, fromBigEndian, hex, type Random, utf8 } from "../bytes.js";
import { ProtocolError } from "../errors.js";
import { KEY_SIZE } from "../identity/keys.js";
import * as box from "./box.js";
import { NONCE } from "./packets.js";

const LABEL = utf8("mm1-jar-");
const KEY_LIFE = 60;
const COOKIE_LIFE = 60;
const MAX_SPENT = 65536;

interface MinuteKey {
  key: Uint8Array;
  since: number;
  spent: Set<string>;
}

/** A cookie that opened, is of this link, fresh and unspent. */
export interface OpenCookie {
  serverSecret: Uint8Array;
  helloHash: Uint8Array;
  /** Not before INITIATE's signature has verified. */
  spend(): void;
}

/** Times are in unix seconds. */
export class CookieJar {
  private keys: MinuteKey[] = [];

  constructor(private readonly random: Random) {}

  issue(
    nonce: Uint8Array,
    clientShort: Uint8Array,
    serverSecret: Uint8Array,
    linkId: Uint8Array,
    helloHash: Uint8Array,
    now: number,
  ): Uint8Array {
    this.rotate(now);
    const plain = concat(clientShort, serverSecret, linkId, bigEndian(Math.floor(now * 1000), 8), helloHash);
    return concat(nonce, box.seal(plain, concat(LABEL, nonce), this.keys[0]!.key));
  }

  open(cookie: Uint8Array, clientShort: Uint8Array, linkId: Uint8Array, now: number): OpenCookie {
    this.rotate(now);
    const nonce = cookie.slice(0, NONCE);
    const { minute, plain } = this.unseal(nonce, cookie.subarray(NONCE));
    if (!equal(plain.subarray(64, 80), linkId)) throw new ProtocolError("bad-cookie", "it was issued on another link");
    if (!equal(plain.subarray(0, 32), clientShort))
      throw new ProtocolError("bad-cookie", "it was issued for another key");
    const issued = fromBigEndian(plain.subarray(80, 88)) / 1000;
    if (Math.abs(now - issued) > COOKIE_LIFE)
      throw new ProtocolError("stale-cookie", `older than ${COOKIE_LIFE} seconds`);
    const name = hex(nonce);
    if (minute.spent.has(name)) throw new ProtocolError("spent-cookie", "it was used before");
    if (minute.spent.size >= MAX_SPENT) throw new ProtocolError("busy", "too many new links this minute");
    return { serverSecret: plain.slice(32, 64), helloHash: plain.slice(88, 120), spend: () => minute.spent.add(name) };
  }

  /** Put a new key in front when the first is too old, or from the future because the clock was set back. */
  private rotate(now: number): void {
    const first = this.keys[0];
    if (first && now - first.since >= 0 && now - first.since < KEY_LIFE) return;
    const previous = this.keys.slice(0, 1).filter((minute) => now - minute.since < 2 * KEY_LIFE);
    this.keys = [{ key: this.random(KEY_SIZE), since: now, spent: new Set() }, ...previous];
  }

  private unseal(nonce: Uint8Array, sealed: Uint8Array): { minute: MinuteKey; plain: Uint8Array } {
    for (const minute of this.keys) {
      const plain = box.open(sealed, concat(LABEL, nonce), minute.key);
      if (plain) return { minute, plain };
    }
    throw new ProtocolError("bad-cookie", "no current key opens it: forged, too old, or of another server");
  }
}
