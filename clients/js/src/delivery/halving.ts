/** Cuts a frame that is too large in two: frames with several items have a limit (docs/protocol/delivery.rst). */

import type { Ack, Batch, Event, Frame, Reply, Request } from "./wire.js";

type Item =
  | { kind: "acks"; item: Ack }
  | { kind: "batches"; item: Batch }
  | { kind: "events"; item: Event }
  | { kind: "requests"; item: Request }
  | { kind: "replies"; item: Reply };

/** Two frames that say the same as `frame`, one after the other; none when it has a single item. */
export function halves(frame: Frame): Frame[] {
  const items = [...itemsOf(frame)];
  const half = items.length >> 1;
  return half ? [frameOf(frame, items.slice(0, half)), frameOf(frame, items.slice(half))] : [];
}

/** Records, and then pieces, are each in a batch of its own. */
function* itemsOf(frame: Frame): Generator<Item> {
  for (const item of frame.acks) yield { kind: "acks", item };
  for (const batch of frame.batches) {
    for (const record of batch.records) yield { kind: "batches", item: { ...batch, records: [record], pieces: [] } };
    for (const piece of batch.pieces) yield { kind: "batches", item: { ...batch, records: [], pieces: [piece] } };
  }
  for (const item of frame.events) yield { kind: "events", item };
  for (const item of frame.requests) yield { kind: "requests", item };
  for (const item of frame.replies) yield { kind: "replies", item };
}

function frameOf({ type, now, floor }: Frame, items: Item[]): Frame {
  const frame: Frame = { type, now, floor, acks: [], batches: [], events: [], requests: [], replies: [] };
  for (const { kind, item } of items) {
    if (kind === "batches") addTo(frame.batches, item);
    else (frame[kind] as (typeof item)[]).push(item);
  }
  return frame;
}

/** Add what `single` has to the last batch, if that is of the same stream and the order stays. */
function addTo(batches: Batch[], single: Batch): void {
  const last = batches.at(-1);
  const same = last?.lane === single.lane && last.epoch === single.epoch && last.base === single.base;
  if (!last || !same || (last.pieces.length && single.records.length)) {
    batches.push(single);
    return;
  }
  last.records.push(...single.records);
  last.pieces.push(...single.pieces);
}
