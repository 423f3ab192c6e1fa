/**
 * Session descriptions, as far as a data channel needs them (docs/protocol/webrtc.rst, "Descriptions"). What a peer sends
 * is hostile: the few lines that matter are parsed strictly here, everything else is dropped, and what the browser gets is
 * written anew from the result.
 */

import { ProtocolError } from "../../../errors.js";
import { isContactable } from "./addresses.js";
import { SMALLEST } from "./pieces.js";

export const MAX_CANDIDATES = 10; // of a peer that we try: more would make us a port scanner,
const MAX_LINES = 200; // and nobody has so many
const MAX_NAMES = 3; // of them by names, which are looked up by multicast
const LOWEST_PORT = 1024; // below are services, no sockets of a peer
const MAX_MESSAGE = 65536; // bytes, of a peer that does not say (RFC 8841, 6.1)

const ICE = "[A-Za-z0-9+/]";
const MEDIA = /^m=application [0-9]+ UDP\/DTLS\/SCTP webrtc-datachannel$/;
const KINDS = ["host", "srflx", "relay"];

/** A UDP address where the peer may be reached; `host` may be a name that mDNS knows. */
export interface Candidate {
  foundation: string;
  priority: number;
  host: string;
  port: number;
  kind: string;
}

/** An offer or answer. `complete`: no candidates will come later. */
export interface Description {
  ufrag: string;
  password: string;
  fingerprint: string;
  setup: string;
  mid: string;
  port: number;
  maxMessage: number;
  candidates: Candidate[];
  complete: boolean;
}

/** `candidate:...`; the related address stays private. */
export function candidateLine({ foundation, priority, host, port, kind }: Candidate): string {
  const related = kind === "host" ? "" : " raddr 0.0.0.0 rport 9";
  return `candidate:${foundation} 1 udp ${priority} ${host} ${port} typ ${kind}${related}`;
}

/** As SDP. */
export function describe(description: Description): string {
  const { ufrag, password, fingerprint, setup, mid, port, maxMessage, candidates, complete } = description;
  const lines = [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    `a=group:BUNDLE ${mid}`,
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    ...candidates.map((candidate) => `a=${candidateLine(candidate)}`),
    ...(complete ? ["a=end-of-candidates"] : []),
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${password}`,
    `a=fingerprint:sha-256 ${fingerprint}`,
    `a=setup:${setup}`,
    `a=mid:${mid}`,
    `a=sctp-port:${port}`,
    `a=max-message-size:${maxMessage}`,
  ];
  return `${lines.join("\r\n")}\r\n`;
}

/** The description in `text`. Throws ProtocolError("bad-sdp"). */
export function parse(text: string): Description {
  const lines = text.replaceAll("\r\n", "\n").replace(/\n$/, "").split("\n");
  if (lines.length > MAX_LINES || lines[0] !== "v=0") throw bad("not a session description");
  const media = lines.filter((line) => line.startsWith("m="));
  if (media.length !== 1 || !MEDIA.test(media[0]!)) throw bad("not of one data channel");
  const found = attributes(lines);
  const candidates = lines
    .filter((line) => line.startsWith("a=candidate:"))
    .map((line) => parseCandidate(line.slice(2)));
  return {
    ufrag: match(found, "ice-ufrag", `${ICE}{4,256}`),
    password: match(found, "ice-pwd", `${ICE}{22,256}`),
    fingerprint: match(found, "fingerprint", "([0-9A-F]{2}:){31}[0-9A-F]{2}"),
    setup: match(found, "setup", "actpass|active|passive"),
    mid: match(found, "mid", "[A-Za-z0-9_-]{1,32}"),
    port: number(found.get("sctp-port") ?? "5000", 1, 65535),
    maxMessage: size(found.get("max-message-size") ?? String(MAX_MESSAGE)),
    candidates: chosen(candidates.filter((candidate) => candidate !== undefined)),
    complete: found.has("end-of-candidates"),
  };
}

/** One `candidate:...` line; undefined for one that is of no use, or not to be contacted. Throws ProtocolError. */
export function parseCandidate(line: string): Candidate | undefined {
  const fields = line.slice("candidate:".length).split(" ");
  if (!line.startsWith("candidate:") || fields.length < 8 || fields[6] !== "typ") throw bad("not a candidate");
  const [foundation, component, protocol, rank, host, portText, , kind] = fields as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if (!new RegExp(`^${ICE}{1,32}$`).test(foundation)) throw bad("foundation of a candidate");
  const priority = number(rank, 0, 2 ** 32 - 1);
  const port = number(portText, 0, 65535);
  const useful = component === "1" && protocol.toLowerCase() === "udp" && KINDS.includes(kind) && port >= LOWEST_PORT;
  return useful && isContactable(host) ? { foundation, priority, host, port, kind } : undefined;
}

/** As many as may be tried; on a host with many interfaces those that others see come first. */
export function chosen(candidates: Candidate[]): Candidate[] {
  const sorted = [...candidates].sort((a, b) => Number(a.kind === "host") - Number(b.kind === "host"));
  const distinct = [...new Map(sorted.map((candidate) => [candidateLine(candidate), candidate])).values()];
  const spare = distinct.filter(({ host }) => host.endsWith(".local")).slice(MAX_NAMES);
  return distinct.filter((candidate) => !spare.includes(candidate)).slice(0, MAX_CANDIDATES);
}

/** The first of each name; of fingerprints the first by SHA-256, the one every browser has. */
function attributes(lines: string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of lines) {
    if (!line.startsWith("a=")) continue;
    const colon = line.indexOf(":");
    const name = line.slice(2, colon < 0 ? undefined : colon);
    const value = colon < 0 ? "" : line.slice(colon + 1);
    if (found.has(name) || (name === "fingerprint" && !value.toLowerCase().startsWith("sha-256 "))) continue;
    found.set(name, name === "fingerprint" ? value.slice(8).toUpperCase() : value);
  }
  return found;
}

function match(found: Map<string, string>, name: string, pattern: string): string {
  const value = found.get(name) ?? "";
  if (!new RegExp(`^(?:${pattern})$`).test(value)) throw bad(name);
  return value;
}

function number(text: string, lowest: number, highest: number): number {
  const value = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || value < lowest || value > highest)
    throw bad("a number that is none, or out of range");
  return value;
}

/** 0 is no limit. */
function size(text: string): number {
  const value = number(text, 0, 2 ** 32 - 1);
  if (value > 0 && value < SMALLEST) throw bad("max-message-size");
  return value;
}

function bad(what: string): ProtocolError {
  return new ProtocolError("bad-sdp", what);
}
