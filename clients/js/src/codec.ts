/**
 * MessagePack. Wire formats are written and read field by field (Writer, Reader), so that a type or a size that is not
 * as specified is an error; payloads of applications are free-form (encode, decode).
 */

import { text, utf8 } from "./bytes.js";
import { CodecError, InvalidPayload } from "./errors.js";

export const MAX_INTEGER = Number.MAX_SAFE_INTEGER;
const MAX_DEPTH = 512;
/** Values of which a payload of an application may consist, where nothing else is said. */
export const MAX_VALUES = 128 * 1024;

/** Appends values in their shortest form. */
export class Writer {
  private bytes = new Uint8Array(256);
  private view = new DataView(this.bytes.buffer);
  private size = 0;

  /** What was written; the writer is not to be used any more. */
  done(): Uint8Array {
    return this.bytes.subarray(0, this.size);
  }

  nil(): void {
    this.byte(0xc0);
  }

  boolean(value: boolean): void {
    this.byte(value ? 0xc3 : 0xc2);
  }

  uint(value: number): void {
    if (value < 0x80) this.byte(value);
    else if (value < 0x100) this.head(0xcc, value, 1);
    else if (value < 0x10000) this.head(0xcd, value, 2);
    else if (value < 0x100000000) this.head(0xce, value, 4);
    else {
      this.head(0xcf, Math.floor(value / 0x100000000), 4);
      this.number(value % 0x100000000, 4);
    }
  }

  integer(value: number): void {
    if (value >= 0) this.uint(value);
    else if (value >= -0x20) this.byte(value & 0xff);
    else if (value >= -0x80) this.head(0xd0, value & 0xff, 1);
    else if (value >= -0x8000) this.head(0xd1, value & 0xffff, 2);
    else if (value >= -0x80000000) this.head(0xd2, value >>> 0, 4);
    else this.bigint(BigInt(value));
  }

  bigint(value: bigint): void {
    if (value >= -0x80000000n && value <= BigInt(MAX_INTEGER)) {
      this.integer(Number(value));
      return;
    }
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw new InvalidPayload("an integer has at most 64 bits");
    this.grow(9);
    this.bytes[this.size] = value < 0n ? 0xd3 : 0xcf;
    this.view.setBigUint64(this.size + 1, BigInt.asUintN(64, value));
    this.size += 9;
  }

  float(value: number): void {
    this.grow(9);
    this.bytes[this.size] = 0xcb;
    this.view.setFloat64(this.size + 1, value);
    this.size += 9;
  }

  string(value: string): void {
    const encoded = utf8(value);
    const size = encoded.length;
    if (size < 0x20) this.byte(0xa0 | size);
    else this.sized(0xd9, size);
    this.raw(encoded);
  }

  binary(value: Uint8Array): void {
    this.sized(0xc4, value.length);
    this.raw(value);
  }

  array(length: number): void {
    if (length < 0x10) this.byte(0x90 | length);
    else if (length < 0x10000) this.head(0xdc, length, 2);
    else this.head(0xdd, length, 4);
  }

  map(length: number): void {
    if (length < 0x10) this.byte(0x80 | length);
    else if (length < 0x10000) this.head(0xde, length, 2);
    else this.head(0xdf, length, 4);
  }

  raw(value: Uint8Array): void {
    this.grow(value.length);
    this.bytes.set(value, this.size);
    this.size += value.length;
  }

  private sized(type: number, size: number): void {
    if (size < 0x100) this.head(type, size, 1);
    else if (size < 0x10000) this.head(type + 1, size, 2);
    else this.head(type + 2, size, 4);
  }

  private head(type: number, value: number, width: 1 | 2 | 4): void {
    this.byte(type);
    this.number(value, width);
  }

  private byte(value: number): void {
    this.grow(1);
    this.bytes[this.size++] = value;
  }

  private number(value: number, width: 1 | 2 | 4): void {
    this.grow(width);
    if (width === 1) this.view.setUint8(this.size, value);
    else if (width === 2) this.view.setUint16(this.size, value);
    else this.view.setUint32(this.size, value);
    this.size += width;
  }

  private grow(more: number): void {
    const needed = this.size + more;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
    larger.set(this.bytes.subarray(0, this.size));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}

/** Reads values of known types; whatever is not as asked for throws CodecError. Bytes that are read are not copied. */
export class Reader {
  private readonly view: DataView;
  private position = 0;
  private values = 0;

  /** What is read by `value` and `skip` consists of at most `most` values. */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly most: number = MAX_VALUES,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.position !== this.bytes.length)
      throw new CodecError(`${this.bytes.length - this.position} bytes too many`);
  }

  /** 0 to `most`. */
  uint(most: number = MAX_INTEGER): number {
    const value = this.anyInteger(this.byte());
    if (typeof value !== "number" || value < 0 || value > most) throw new CodecError(`${value} is not 0 to ${most}`);
    return value;
  }

  boolean(): boolean {
    const type = this.byte();
    if (type !== 0xc2 && type !== 0xc3) throw wrong(type, "a boolean");
    return type === 0xc3;
  }

  /** At most `most` characters (code points). */
  string(most: number = MAX_INTEGER): string {
    const type = this.byte();
    const size = this.stringSize(type);
    if (size < 0) throw wrong(type, "a string");
    const value = this.utf8(size);
    if (value.length > most && Array.from(value).length > most) throw new CodecError(`more than ${most} characters`);
    return value;
  }

  /** At most `most` bytes. */
  binary(most: number = MAX_INTEGER): Uint8Array {
    const type = this.byte();
    const size = this.binarySize(type);
    if (size < 0) throw wrong(type, "binary");
    if (size > most) throw new CodecError(`${size} bytes, at most ${most} allowed`);
    return this.take(size);
  }

  /** Exactly `size` bytes. */
  fixed(size: number): Uint8Array {
    const value = this.binary(size);
    if (value.length !== size) throw new CodecError(`${value.length} bytes instead of ${size}`);
    return value;
  }

  /** The number of elements, at most `most`; each has a byte at least, so no more are announced than there can be. */
  array(most: number = MAX_INTEGER): number {
    const type = this.byte();
    const length = this.arrayLength(type);
    if (length < 0) throw wrong(type, "an array");
    if (length > most) throw new CodecError(`${length} elements, at most ${most} allowed`);
    return this.announced(length);
  }

  list<T>(read: () => T, most: number = MAX_INTEGER): T[] {
    const length = this.array(most);
    const items: T[] = [];
    for (let index = 0; index < length; index++) items.push(read());
    return items;
  }

  /** An array of `least` or more fields, read by `read`; what is beyond is skipped. */
  struct<T>(least: number, read: () => T): T {
    const fields = this.array();
    if (fields < least) throw new CodecError(`${fields} fields, at least ${least} expected`);
    const value = read();
    this.skip(fields - least);
    return value;
  }

  /** Pass over so many values, of any type. */
  skip(count: number): void {
    for (; count > 0; count--) this.value();
  }

  /** Any value. */
  value(depth: number = 0): unknown {
    if (depth > MAX_DEPTH) throw new CodecError("too deeply nested");
    if (++this.values > this.most) throw new CodecError(`more than ${this.most} values`);
    const type = this.byte();
    if (type === 0xc0) return null;
    if (type === 0xc2 || type === 0xc3) return type === 0xc3;
    if (type === 0xca) return this.view.getFloat32(this.advance(4));
    if (type === 0xcb) return this.view.getFloat64(this.advance(8));
    let size = this.stringSize(type);
    if (size >= 0) return this.utf8(size);
    size = this.binarySize(type);
    if (size >= 0) return this.take(size).slice();
    size = this.arrayLength(type);
    if (size >= 0) return this.elements(this.announced(size), depth);
    size = this.mapLength(type);
    if (size >= 0) return this.entries(this.announced(size), depth);
    size = this.extensionSize(type);
    if (size >= 0) return this.extension(size);
    return this.anyInteger(type);
  }

  private elements(length: number, depth: number): unknown[] {
    const items: unknown[] = [];
    for (let index = 0; index < length; index++) items.push(this.value(depth + 1));
    return items;
  }

  /** An object when all keys are strings, as most maps are; else a Map. */
  private entries(length: number, depth: number): unknown {
    const pairs: [unknown, unknown][] = [];
    for (let index = 0; index < length; index++) pairs.push([this.value(depth + 1), this.value(depth + 1)]);
    return pairs.every(([key]) => typeof key === "string") ? Object.fromEntries(pairs) : new Map(pairs);
  }

  /** Timestamps become dates; others stay as they are. */
  private extension(size: number): unknown {
    const kind = this.view.getInt8(this.advance(1));
    const data = this.take(size);
    if (kind !== -1) return { extension: kind, data };
    const view = new DataView(data.buffer, data.byteOffset, size);
    if (size === 4) return new Date(view.getUint32(0) * 1000);
    if (size === 8) {
      const both = view.getBigUint64(0);
      return new Date(Number(both & 0x3ffffffffn) * 1000 + Number(both >> 34n) / 1e6);
    }
    if (size === 12) return new Date(Number(view.getBigInt64(4)) * 1000 + view.getUint32(0) / 1e6);
    throw new CodecError("not a timestamp");
  }

  private anyInteger(type: number): number | bigint {
    if (type < 0x80) return type;
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xcc:
        return this.view.getUint8(this.advance(1));
      case 0xcd:
        return this.view.getUint16(this.advance(2));
      case 0xce:
        return this.view.getUint32(this.advance(4));
      case 0xcf:
        return narrowed(this.view.getBigUint64(this.advance(8)));
      case 0xd0:
        return this.view.getInt8(this.advance(1));
      case 0xd1:
        return this.view.getInt16(this.advance(2));
      case 0xd2:
        return this.view.getInt32(this.advance(4));
      case 0xd3:
        return narrowed(this.view.getBigInt64(this.advance(8)));
      default:
        throw wrong(type, "an integer");
    }
  }

  private stringSize(type: number): number {
    return type >= 0xa0 && type < 0xc0 ? type & 0x1f : this.size(type, 0xd9);
  }

  private binarySize(type: number): number {
    return this.size(type, 0xc4);
  }

  private arrayLength(type: number): number {
    return type >= 0x90 && type < 0xa0 ? type & 0x0f : this.longLength(type, 0xdc);
  }

  private mapLength(type: number): number {
    return type >= 0x80 && type < 0x90 ? type & 0x0f : this.longLength(type, 0xde);
  }

  private extensionSize(type: number): number {
    return type >= 0xd4 && type <= 0xd8 ? 1 << (type - 0xd4) : this.size(type, 0xc7);
  }

  private size(type: number, first: number): number {
    if (type === first) return this.view.getUint8(this.advance(1));
    if (type === first + 1) return this.view.getUint16(this.advance(2));
    return type === first + 2 ? this.view.getUint32(this.advance(4)) : -1;
  }

  private longLength(type: number, first: number): number {
    if (type === first) return this.view.getUint16(this.advance(2));
    return type === first + 1 ? this.view.getUint32(this.advance(4)) : -1;
  }

  private announced(length: number): number {
    if (length > this.bytes.length - this.position)
      throw new CodecError("more elements announced than there are bytes");
    return length;
  }

  private utf8(size: number): string {
    try {
      return text(this.take(size));
    } catch (error) {
      if (error instanceof CodecError) throw error;
      throw new CodecError("not UTF-8");
    }
  }

  private take(size: number): Uint8Array {
    const start = this.advance(size);
    return this.bytes.subarray(start, start + size);
  }

  private byte(): number {
    return this.bytes[this.advance(1)]!;
  }

  private advance(size: number): number {
    const start = this.position;
    if (start + size > this.bytes.length) throw new CodecError("truncated");
    this.position = start + size;
    return start;
  }
}

/**
 * MessagePack of a payload: null, booleans, numbers, bigints of 64 bits, strings, bytes, dates, arrays, maps, sets and
 * plain objects, whose undefined values are left out. Throws InvalidPayload for anything else.
 */
export function encode(value: unknown): Uint8Array {
  const writer = new Writer();
  write(writer, value, 0);
  return writer.done();
}

/** The value in `data`; integers beyond 2**53 are bigints. Throws CodecError, also for more than `most` values. */
export function decode(data: Uint8Array, most: number = MAX_VALUES): unknown {
  const reader = new Reader(data, most);
  const value = reader.value();
  reader.end();
  return value;
}

function write(writer: Writer, value: unknown, depth: number): void {
  if (depth > MAX_DEPTH) throw new InvalidPayload("too deeply nested, or a circle");
  if (value === null || value === undefined) writer.nil();
  else if (typeof value === "boolean") writer.boolean(value);
  else if (typeof value === "number")
    Number.isSafeInteger(value) && !Object.is(value, -0) ? writer.integer(value) : writer.float(value);
  else if (typeof value === "bigint") writer.bigint(value);
  else if (typeof value === "string") writer.string(value);
  else if (ArrayBuffer.isView(value)) writer.binary(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  else if (value instanceof ArrayBuffer) writer.binary(new Uint8Array(value));
  else if (value instanceof Date) writeDate(writer, value);
  else if (Array.isArray(value) || value instanceof Set) writeArray(writer, Array.from(value), depth);
  else if (value instanceof Map) writeMap(writer, [...value], depth);
  else if (typeof value === "object" && isPlain(value)) writeMap(writer, definedEntries(value), depth);
  else
    throw new InvalidPayload(`cannot encode a ${typeof value === "object" ? value.constructor?.name : typeof value}`);
}

function writeArray(writer: Writer, items: unknown[], depth: number): void {
  writer.array(items.length);
  for (const item of items) write(writer, item, depth + 1);
}

function writeMap(writer: Writer, entries: [unknown, unknown][], depth: number): void {
  writer.map(entries.length);
  for (const [key, value] of entries) {
    write(writer, key, depth + 1);
    write(writer, value, depth + 1);
  }
}

function writeDate(writer: Writer, date: Date): void {
  const seconds = Math.floor(date.getTime() / 1000);
  if (!Number.isSafeInteger(seconds)) throw new InvalidPayload("not a date");
  const bytes = new Uint8Array(15);
  const view = new DataView(bytes.buffer);
  bytes.set([0xc7, 12, 0xff]);
  view.setUint32(3, (date.getTime() - seconds * 1000) * 1e6);
  view.setBigInt64(7, BigInt(seconds));
  writer.raw(bytes);
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function definedEntries(value: object): [unknown, unknown][] {
  return Object.entries(value).filter(([, inner]) => inner !== undefined);
}

function narrowed(value: bigint): number | bigint {
  const small = value >= -BigInt(MAX_INTEGER) && value <= BigInt(MAX_INTEGER);
  return small ? Number(value) : value;
}

function wrong(type: number, expected: string): CodecError {
  return new CodecError(`type 0x${type.toString(16)} where ${expected} was expected`);
}
