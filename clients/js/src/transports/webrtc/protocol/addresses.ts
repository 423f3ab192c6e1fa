/** Which addresses of a candidate an honest peer may have (docs/protocol/webrtc.rst, "Descriptions"). */

const MDNS = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local$/;

/** Not loopback, multicast, unspecified, link-local, reserved, mapped or scoped; of names only the random ones of mDNS. */
export function isContactable(host: string): boolean {
  if (host.includes(":")) return isContactable6(host);
  return contactable4(host) ?? MDNS.test(host);
}

/** Undefined for what is no IPv4 address. */
function contactable4(host: string): boolean | undefined {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(host)) return undefined;
  const [first, second, ...rest] = host.split(".").map(Number) as [number, number, number, number];
  if ([first, second, ...rest].some((byte) => byte > 255)) return undefined;
  const unspecified = !first && !second && !rest.some((byte) => byte);
  return !(unspecified || first === 127 || (first === 169 && second === 254) || first >= 224);
}

/** Global, unique local or site-local: everything else is reserved or does not lead to a peer. */
function isContactable6(host: string): boolean {
  const halves = host.split("::");
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half ? half.split(":") : []));
  const last = groups.at(-1) ?? "";
  const embedded = contactable4(last) !== undefined && !host.endsWith("::");
  const count = groups.length + (embedded ? 1 : 0);
  if (halves.length === 2 ? count > 7 : count !== 8) return false;
  if (!(embedded ? groups.slice(0, -1) : groups).every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false;
  const first = halves[0] ? parseInt(groups[0]!, 16) : 0;
  return (
    (first >= 0x2000 && first < 0x4000) || (first >= 0xfc00 && first < 0xfe00) || (first >= 0xfec0 && first < 0xff00)
  );
}
