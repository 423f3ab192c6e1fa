/** Dial a person or a bot by key: `const platform = await Platform.create({ relays: [address] })`. */

export { Delivery } from "./message.js";
export type { Outcome } from "./delivery/outcome.js";
export * from "./errors.js";
export type { Circle, Scope } from "./identity/circles.js";
export { Identity, type SignId } from "./identity/keys.js";
export type { NodeInfo } from "./identity/nodeinfo.js";
export { parseTicket } from "./identity/ticket.js";
export type { Messaging, Priority, SendOptions } from "./messaging/api.js";
export type { Handler } from "./messaging/subscriber.js";
export type { Accept, Connection, Receiver, Transport, TransportNode } from "./plugins/transport.js";
export { WebRTC, type WebRTCOptions } from "./transports/webrtc/transport.js";
export { Platform, type Options } from "./platform.js";
export type { Row, Storage } from "./storage/contract.js";
export { IndexedDBStorage } from "./storage/indexeddb.js";
export { MemoryStorage } from "./storage/memory.js";
