/** Which names lists can have here. */

import { InvalidKey, InvalidName } from "../errors.js";
import { escaped } from "../text.js";
import { parseSignId } from "./keys.js";

/** The name of a list, as "@family", or of a circle as a destination: "@friends", "@devices". */
export type ListName = `@${string}`;

const LONGEST_NAME = 64; // characters
const AT = "@";
const MEANINGS: Record<string, string> = {
  local: "this node",
  self: "this node and your own devices",
  friends: "all your friends",
  devices: "all your other devices",
  public: "everybody else",
};

/** Whether a destination is the name of a list or of a circle. */
export function isListName(destination: string): destination is ListName {
  return destination.startsWith(AT);
}

/** What a name means without being that of a list; undefined for others. */
export function meaningOf(name: string): string | undefined {
  const text = name.slice(AT.length);
  return Object.hasOwn(MEANINGS, text) ? MEANINGS[text] : undefined;
}

/** Throws InvalidName unless `name` can be that of a list at all. */
export function checkListName(name: string): void {
  if (typeof name !== "string" || !isListName(name))
    throw new InvalidName(`${escaped(String(name))}: the name of a list begins with @, as "@family"`);
  const meaning = meaningOf(name);
  if (meaning) throw new InvalidName(`${name} is no name for a list: it means something already (${meaning})`);
  const text = name.slice(AT.length);
  const odd = /[\p{C}\p{Zl}\p{Zp}]|^[-@\s]|\s$/u.test(text) || isSignId(text);
  if (odd || !text || [...text].length > LONGEST_NAME)
    throw new InvalidName(
      `${escaped(name)}: the name of a list is @ and 1 to ${LONGEST_NAME} printable characters, of which the first is ` +
        "neither - nor @; no signId",
    );
}

function isSignId(text: string): boolean {
  try {
    parseSignId(text);
    return true;
  } catch (error) {
    if (error instanceof InvalidKey) return false;
    throw error;
  }
}
