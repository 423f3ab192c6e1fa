/**
 * An established session: seal, open, rekey, close (docs/protocol/session.rst, "DATA"). Each direction has a key of its
 * own and counts its frames; the count is the nonce and is not sent, so a frame lost, repeated, swapped or reflected
 * does not open.
 */

import { bigEndian, utf8 } from "../bytes.js";
import { ProtocolError } from "../errors.js";
import { digest } from "../identity/keys.js";
import * as box from "./box.js";
import { MAX_FRAME, MAX_PLAINTEXT } from "./packets.js";

const REKEY_EVERY = 65536;

/** One direction: its key, and how many frames it has sealed or opened. */
class Direction {
  private readonly nonce = new Uint8Array(24);
  private count = 0;

  constructor(
    public key: Uint8Array,
    label: string,
  ) {
    this.nonce.set(utf8(label));
  }

  next(): Uint8Array {
    this.nonce.set(bigEndian(this.count, 8), 16);
    return this.nonce;
  }

  step(): void {
    if (++this.count % REKEY_EVERY === 0) this.key = digest("mm/1 rekey", this.key);
  }
}

/** The two keys of one link. `dead` says why it ended; it is empty as long as the session lives. */
export class Session {
  dead = "";

  private constructor(
    private readonly sealing: Direction,
    private readonly opening: Direction,
  ) {}

  static ofClient(shared: Uint8Array, transcript: Uint8Array): Session {
    const [client, server] = directions(shared, transcript);
    return new Session(client, server);
  }

  static ofServer(shared: Uint8Array, transcript: Uint8Array): Session {
    const [client, server] = directions(shared, transcript);
    return new Session(server, client);
  }

  /** The next frame to send. Too long a plaintext is refused ("too-long") and changes nothing. */
  seal(plaintext: Uint8Array): Uint8Array {
    this.checkAlive();
    if (plaintext.length > MAX_PLAINTEXT) throw new ProtocolError("too-long", `${plaintext.length} bytes in one frame`);
    const frame = box.seal(plaintext, this.sealing.next(), this.sealing.key);
    this.sealing.step();
    return frame;
  }

  /** The plaintext of the next frame received; anything else kills the session ("bad-box"). */
  open(frame: Uint8Array): Uint8Array {
    this.checkAlive();
    const plaintext = frame.length <= MAX_FRAME ? box.open(frame, this.opening.next(), this.opening.key) : undefined;
    if (plaintext === undefined) {
      this.end("bad-box");
      throw new ProtocolError("bad-box", `${frame.length} bytes are not the next frame of this session`);
    }
    this.opening.step();
    return plaintext;
  }

  /** Drop the keys. Sealing and opening throw "dead" from now on. */
  close(): void {
    this.end("closed");
  }

  private checkAlive(): void {
    if (this.dead) throw new ProtocolError("dead", `the session ended: ${this.dead}`);
  }

  private end(reason: string): void {
    this.dead ||= reason;
    this.sealing.key.fill(0);
    this.opening.key.fill(0);
  }
}

/** The first key from client to server, and the first from server to client. */
export function dataKeys(shared: Uint8Array, transcript: Uint8Array): [Uint8Array, Uint8Array] {
  return [digest("mm/1 data client", shared, transcript), digest("mm/1 data server", shared, transcript)];
}

function directions(shared: Uint8Array, transcript: Uint8Array): [Direction, Direction] {
  const [client, server] = dataKeys(shared, transcript);
  return [new Direction(client, "mm1-c2s-"), new Direction(server, "mm1-s2c-")];
}
