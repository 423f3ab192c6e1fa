/** Frames on a data channel: one message of the channel is one piece (docs/protocol/webrtc.rst, "Pieces"). */

import { concat } from "../../../bytes.js";
import { ProtocolError } from "../../../errors.js";
import { LENGTH_LIMIT } from "../../../plugins/transport.js";

export const MORE = 0; // a part of a frame, and more of it follows
export const LAST = 1; // the rest of a frame
export const PING = 2;
export const PONG = 3;
export const END = 4; // nothing follows: the channel may be closed
export const PIECE = 16 * 1024; // bytes of the largest: longer messages block the channel for others in some browsers
export const SMALLEST = 1200; // whoever takes only less is not talked to

/** The pieces of a frame, of at most `size` bytes each. */
export function* split(frame: Uint8Array, size: number): Generator<Uint8Array> {
  const room = size - 1;
  for (let offset = 0; ; offset += room) {
    const last = offset + room >= frame.length;
    const piece = new Uint8Array(1 + (last ? frame.length - offset : room));
    piece[0] = last ? LAST : MORE;
    piece.set(frame.subarray(offset, offset + room), 1);
    yield piece;
    if (last) return;
  }
}

/** Frames out of pieces, in order; never keeps more than one frame of the longest allowed length. */
export class Assembly {
  private parts: Uint8Array[] = [];
  private held = 0;

  /** The frame that this piece of kind MORE or LAST completes. Throws ProtocolError. */
  add(piece: Uint8Array): Uint8Array | undefined {
    const part = piece.subarray(1);
    if (this.held + part.length > LENGTH_LIMIT)
      throw new ProtocolError("too-long", `a frame of more than ${LENGTH_LIMIT} bytes`);
    if (piece[0] === MORE) {
      if (!part.length) throw new ProtocolError("bad-piece", "nothing, and more to follow");
      this.parts.push(part);
      this.held += part.length;
      return undefined;
    }
    if (!this.parts.length) return part;
    const frame = concat(...this.parts, part);
    this.clear();
    return frame;
  }

  clear(): void {
    this.parts = [];
    this.held = 0;
  }
}
