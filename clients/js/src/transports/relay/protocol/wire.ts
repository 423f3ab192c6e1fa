/** Items as bytes: each binary WebSocket message is one MessagePack array of items (docs/protocol/relay.rst, "Items"). */

import { Reader, Writer } from "../../../codec.js";
import { CodecError, ProtocolError } from "../../../errors.js";
import { KEY_SIZE, SIGNATURE_SIZE } from "../../../identity/keys.js";
import { type Item, type Kind, LAYOUTS, type Value } from "./items.js";

export const VERSION = "mm-relay.1";
const MAX_FRAME = 256 * 1024;
const MAX_MAIL = 1024 * 1024 + 16 * 1024;
export const MAX_ITEMS = 4096;
const MAX_MESSAGE = 2 * 1024 * 1024;
const ID_SIZE = 16;
const LIMITS = 11;
const MAX_NAME = 255;
const MAX_ADDRESS = 256;
const MAX_REASON = 200;

const TAGS = new Map(LAYOUTS.map(([type, ...fields], tag) => [type, { tag, fields }]));

/** One WebSocket message. */
export function encodeItems(items: readonly Item[]): Uint8Array {
  const writer = new Writer();
  writer.array(items.length);
  for (const item of items) writeItem(writer, item);
  return writer.done();
}

/** The items of one WebSocket message; throws ProtocolError("bad-item"). */
export function decodeItems(message: Uint8Array): Item[] {
  try {
    if (message.length > MAX_MESSAGE) throw new CodecError(`${message.length} bytes, at most ${MAX_MESSAGE} allowed`);
    const reader = new Reader(message);
    const items = reader.list(() => readItem(reader), MAX_ITEMS);
    reader.end();
    return items;
  } catch (error) {
    if (error instanceof CodecError) throw new ProtocolError("bad-item", error.message);
    throw error;
  }
}

function writeItem(writer: Writer, item: Item): void {
  const { tag, fields } = TAGS.get(item.type)!;
  const values = item as unknown as Record<string, Value>;
  writer.array(fields.length + 1);
  writer.uint(tag);
  for (const [name] of fields) writeValue(writer, values[name]!);
}

function writeValue(writer: Writer, value: Value): void {
  if (typeof value === "number") writer.uint(value);
  else if (typeof value === "string") writer.string(value);
  else if (typeof value === "boolean") writer.boolean(value);
  else if (value instanceof Uint8Array) writer.binary(value);
  else {
    writer.array(value.length);
    for (const number of value) writer.uint(number);
  }
}

function readItem(reader: Reader): Item {
  const length = reader.array();
  if (length < 1) throw new CodecError("no tag");
  const layout = LAYOUTS[reader.uint()];
  if (!layout) throw new CodecError("no item of a client has this tag");
  const [type, ...fields] = layout;
  const item: Record<string, unknown> = { type };
  fields.forEach(([name, kind, absent], index) => {
    if (index + 1 < length) item[name] = readValue(reader, kind);
    else if (absent !== undefined) item[name] = absent;
    else throw new CodecError(`${type} lacks its ${name}`);
  });
  reader.skip(length - 1 - fields.length);
  return item as unknown as Item;
}

function readValue(reader: Reader, kind: Kind): Value {
  switch (kind) {
    case "key":
      return reader.fixed(KEY_SIZE);
    case "id":
      return reader.fixed(ID_SIZE);
    case "signature":
      return reader.fixed(SIGNATURE_SIZE);
    case "uint":
      return reader.uint();
    case "name":
      return reader.string(MAX_NAME);
    case "address":
      return reader.string(MAX_ADDRESS);
    case "reason":
      return reader.string(MAX_REASON);
    case "frame":
      return reader.binary(MAX_FRAME);
    case "envelope":
      return reader.binary(MAX_MAIL);
    case "limits":
      return reader.struct(LIMITS, () => Array.from({ length: LIMITS }, () => reader.uint()));
    case "numbers":
      return reader.list(() => reader.uint(), MAX_ITEMS);
    case "boolean":
      return reader.boolean();
  }
}
