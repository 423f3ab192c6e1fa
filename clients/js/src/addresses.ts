/**
 * Where strangers may make us go: the rule of mmplatform/addresses.py, as far as it can be applied before a look-up. Names
 * are looked up by the browser, or by Node.js, which do not say what they found.
 */

const LOWEST_PORT = 1024; // of strangers: below are services
const TLS_PORT = 443; // the one lower port that may be dialled
// Those of IPv4 that are not one host of the Internet, and two that clouds keep their metadata at: [first, bits].
const RESERVED4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.80.8.124", 32],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
];
const LOCAL_TOPS = /^(arpa|corp|home|internal|intranet|invalid|lan|local|localdomain|localhost|onion|private|test)$/;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const TOP = /^[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

/** Whether a stranger may name a relay at this URL: with TLS, without a path, at a host of the Internet. */
export function mayName(url: string): boolean {
  const match = /^wss:\/\/(\[[^\]]*\]|[^:/]*)(?::(\d+))?\/$/.exec(url);
  if (!match) return false;
  const [, host, port = String(TLS_PORT)] = match as unknown as [string, string, string | undefined];
  if (Number(port) !== TLS_PORT && !isOpenPort(Number(port))) return false;
  return isGlobal(host.replace(/^\[(.*)\]$/, "$1")) || isPublicName(host);
}

/** Whether a stranger may have packets sent to this port. */
export function isOpenPort(port: number): boolean {
  return port >= LOWEST_PORT && port < 65536;
}

/** Whether it is the one spelling of the address of one host on the Internet, which stands for no other address. */
export function isGlobal(host: string): boolean {
  const six = host.includes(":");
  if (!isCanonical(six ? `[${host}]` : host)) return false;
  return six ? isGlobal6(host) : isGlobal4(host);
}

/** Whether it is a name of the public DNS as far as it shows: no number, no name of this network or of metadata. */
export function isPublicName(host: string): boolean {
  const labels = host.split(".");
  const top = labels.pop() ?? "";
  if (!labels.length || host.length > 253 || LOCAL_TOPS.test(top) || !TOP.test(top)) return false;
  return labels.every((label) => LABEL.test(label) && label !== "metadata" && label !== "instance-data");
}

/** Whether a reader of URLs leaves it as it is. */
function isCanonical(host: string): boolean {
  try {
    return new URL(`http://${host}/`).hostname === host;
  } catch {
    return false;
  }
}

function isGlobal4(host: string): boolean {
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(host)) return false;
  const number = numberOf(host);
  return RESERVED4.every(([first, bits]) => number >>> (32 - bits) !== numberOf(first) >>> (32 - bits));
}

function isGlobal6(host: string): boolean {
  const [first, second] = host
    .split("::", 1)[0]!
    .split(":")
    .map((group) => parseInt(group || "0", 16));
  const [a, b] = [first ?? 0, second ?? 0];
  if (a < 0x2000 || a > 0x3fff || a === 0x2002) return false; // of IPv4 of some kind, or not of the Internet
  if (a === 0x2001 && (b < 0x200 || b === 0xdb8)) return false; // Teredo and other protocols, documentation
  return !(a === 0x3fff && b < 0x1000); // documentation
}

function numberOf(host: string): number {
  return host.split(".").reduce((number, byte) => ((number << 8) | Number(byte)) >>> 0, 0);
}
