/** Dial a person or a bot by key: `const platform = await Platform.create({ relays: [address] })`. */

export type { Options } from "./assembly.js";
export type { InboxMessage } from "./durable/inbox.js";
export * from "./errors.js";
export { GroupDelivery } from "./groupdelivery.js";
export type { Circle, Scope } from "./identity/circles.js";
export { Identity, type SignId } from "./identity/keys.js";
export type { ListName } from "./identity/names.js";
export type { NodeInfo } from "./identity/nodeinfo.js";
export { parseTicket } from "./identity/ticket.js";
export type { Lists } from "./lists.js";
export { Delivery, type Outcome, type Priority, type Waiting } from "./message.js";
export type { Messaging, RequestOptions, SendOptions, Several } from "./messaging/api.js";
export type { Handler } from "./messaging/handlers.js";
export type { Parsing, SubscriptionOptions } from "./messaging/options.js";
export type { Parse } from "./messaging/parsing.js";
export { Platform } from "./platform.js";
export type { Accept, Connection, Receiver, Transport, TransportHost } from "./plugins/transport.js";
export type { Row, Storage } from "./storage/contract.js";
export { IndexedDBStorage } from "./storage/indexeddb.js";
export { MemoryStorage } from "./storage/memory.js";
export { WebRTC, type WebRTCOptions } from "./transports/webrtc/transport.js";
