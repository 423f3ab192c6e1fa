/**
 * Addresses of relays: `relay+wss://host[:port][/path]/KEY`, KEY the relay's signId in base64url without padding
 * (docs/protocol/relay.rst, "Addresses").
 */

import { LocalError } from "../../../errors.js";
import { parseSignId, type SignId } from "../../../identity/keys.js";
import { isAddress } from "../../../identity/nodeinfo.js";

export const SCHEMES = ["relay+wss", "relay+ws"];

export interface RelayAddress {
  /** The one form the address has. */
  readonly text: string;
  /** Where the WebSocket is. */
  readonly url: string;
  /** Whom to expect there. */
  readonly key: SignId;
}

export function parseRelay(text: string): RelayAddress {
  const match = /^relay\+(wss?):\/\/([^/?#@]+)((?:\/[^?#@]*)?)\/([A-Za-z0-9_-]{43})$/.exec(text);
  if (!match || !isAddress(text)) throw new LocalError(`${text.slice(0, 80)} is not relay+wss://host[:port]/KEY`);
  const [, scheme, authority, path, name] = match as unknown as [string, string, string, string, string];
  const host = authority.toLowerCase();
  try {
    new URL(`${scheme}://${host}/`);
  } catch {
    throw new LocalError(`${text} is not relay+wss://host[:port]/KEY`);
  }
  const key = parseSignId(`${name.replaceAll("-", "+").replaceAll("_", "/")}=`);
  const url = `${scheme}://${host}${path.replace(/\/+$/, "")}/`;
  return { text: `relay+${url}${name}`, url, key };
}
