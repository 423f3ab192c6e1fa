/** What a client and a relay say to each other (docs/protocol/relay.rst, "Items"). Those between relays are not for a client. */

/** What fields are made of; a list of them with a default may be missing at the end of an item. */
export type Kind =
  | "key"
  | "id"
  | "signature"
  | "uint"
  | "name"
  | "address"
  | "reason"
  | "frame"
  | "envelope"
  | "limits"
  | "numbers"
  | "boolean";
export type Value = Uint8Array | number | string | boolean | number[];

/** Limits of a relay: the first is bytes of a frame, the second of an envelope; 0 is no limit. */
export type Item =
  | { type: "challenge"; nonce: Uint8Array; relay: Uint8Array; name: string }
  | { type: "signIn"; key: Uint8Array; nonce: Uint8Array; signature: Uint8Array; role: number; address: string }
  | { type: "welcome"; signature: Uint8Array; now: number; limits: number[] }
  | { type: "bye"; reason: string; retry: number }
  | { type: "open"; peer: Uint8Array; link: number; data: Uint8Array; via: string }
  | { type: "data"; peer: Uint8Array; link: number; data: Uint8Array }
  | { type: "closed"; peer: Uint8Array; link: number; reason: string }
  | { type: "pause"; peer: Uint8Array }
  | { type: "resume"; peer: Uint8Array }
  | { type: "present"; peer: Uint8Array }
  | { type: "deposit"; peer: Uint8Array; id: Uint8Array; expires: number; envelope: Uint8Array; via: string }
  | { type: "stored"; peer: Uint8Array; id: Uint8Array; expires: number; heldUp: boolean }
  | { type: "declined"; peer: Uint8Array; id: Uint8Array; reason: string; retry: number }
  | { type: "roomAgain"; peer: Uint8Array }
  | { type: "ended"; number: number; peer: Uint8Array; id: Uint8Array; state: string }
  | { type: "noted"; number: number }
  | { type: "mail"; number: number; peer: Uint8Array; envelope: Uint8Array }
  | { type: "taken"; numbers: number[]; refused: boolean };

type Field = [name: string, kind: Kind, absent?: Value];

/** The fields of each item on the wire, in order; the tag of an item is its place in this list. */
export const LAYOUTS: readonly (readonly [type: Item["type"], ...fields: Field[]])[] = [
  ["challenge", ["nonce", "key"], ["relay", "key"], ["name", "name"]],
  [
    "signIn",
    ["key", "key"],
    ["nonce", "key"],
    ["signature", "signature"],
    ["role", "uint", 0],
    ["address", "address", ""],
  ],
  ["welcome", ["signature", "signature"], ["now", "uint"], ["limits", "limits"]],
  ["bye", ["reason", "reason"], ["retry", "uint", 0]],
  ["open", ["peer", "key"], ["link", "uint"], ["data", "frame"], ["via", "address", ""]],
  ["data", ["peer", "key"], ["link", "uint"], ["data", "frame"]],
  ["closed", ["peer", "key"], ["link", "uint"], ["reason", "reason"]],
  ["pause", ["peer", "key"]],
  ["resume", ["peer", "key"]],
  ["present", ["peer", "key"]],
  ["deposit", ["peer", "key"], ["id", "id"], ["expires", "uint"], ["envelope", "envelope"], ["via", "address", ""]],
  ["stored", ["peer", "key"], ["id", "id"], ["expires", "uint"], ["heldUp", "boolean", false]],
  ["declined", ["peer", "key"], ["id", "id"], ["reason", "reason"], ["retry", "uint", 0]],
  ["roomAgain", ["peer", "key"]],
  ["ended", ["number", "uint"], ["peer", "key"], ["id", "id"], ["state", "reason"]],
  ["noted", ["number", "uint"]],
  ["mail", ["number", "uint"], ["peer", "key"], ["envelope", "envelope"]],
  ["taken", ["numbers", "numbers"], ["refused", "boolean", false]],
];
