/** Bytes and their text forms. */

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

export type Random = (size: number) => Uint8Array;

export const EMPTY: Uint8Array = new Uint8Array(0);

export function random(size: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(size));
}

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Throws TypeError for what is no UTF-8. */
export function text(bytes: Uint8Array): string {
  return strict.decode(bytes);
}

export function textLeniently(bytes: Uint8Array): string {
  return lenient.decode(bytes);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return joined(parts);
}

/** As `concat`, of however many: a call takes no more than some ten thousand arguments. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

/** Not in constant time: for public values only. */
export function equal(first: Uint8Array, second: Uint8Array): boolean {
  return first.length === second.length && first.every((byte, index) => byte === second[index]);
}

/** Which of two sorts first, as strings of bytes. */
export function compare(first: Uint8Array, second: Uint8Array): number {
  for (let index = 0; index < Math.min(first.length, second.length); index++) {
    if (first[index] !== second[index]) return first[index]! - second[index]!;
  }
  return first.length - second.length;
}

/** A number below 2**53 in `size` bytes, big endian. */
export function bigEndian(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let index = size - 1; index >= 0 && value > 0; index--) {
    bytes[index] = value % 256;
    value = Math.floor(value / 256);
  }
  return bytes;
}

export function fromBigEndian(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(digits: string): Uint8Array {
  const bytes = new Uint8Array(digits.length / 2);
  for (let index = 0; index < bytes.length; index++)
    bytes[index] = parseInt(digits.slice(2 * index, 2 * index + 2), 16);
  return bytes;
}

/** With the standard alphabet and padding. */
export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Undefined unless `encoded` is the one canonical form of some bytes. */
export function fromBase64(encoded: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4) return undefined;
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  return base64(bytes) === encoded ? bytes : undefined;
}

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** RFC 4648 in lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let characters = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) characters += BASE32[(held >> (bits - 5)) & 31];
  }
  return bits ? characters + BASE32[(held << (5 - bits)) & 31] : characters;
}

/** Undefined unless `characters` is the one canonical form of some bytes. */
export function fromBase32(characters: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((characters.length * 5) / 8));
  let position = 0;
  let held = 0;
  let bits = 0;
  for (const character of characters) {
    const value = BASE32.indexOf(character);
    if (value < 0) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[position++] = (held >> bits) & 255;
    }
  }
  return base32(bytes) === characters ? bytes : undefined;
}
