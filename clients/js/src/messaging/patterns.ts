/** Topics and patterns: segments joined by dots; in a pattern `*` is one segment, `>` one or more. */

import { utf8 } from "../bytes.js";
import { MAX_TOPIC } from "../delivery/wire.js";
import { InvalidTopic } from "../errors.js";

/** Throws InvalidTopic unless it is printable segments, 255 bytes at most, no wildcard among them. */
export function checkTopic(topic: string): void {
  checkPattern(topic);
  if (topic.split(".").some((segment) => segment === "*" || segment === ">")) {
    throw new InvalidTopic(`${topic}: a topic has no wildcards; they belong to subscriptions`);
  }
}

export function checkPattern(pattern: string): void {
  if (typeof pattern !== "string" || !pattern || utf8(pattern).length > MAX_TOPIC) {
    throw new InvalidTopic(`a topic is text of 1 to ${MAX_TOPIC} bytes`);
  }
  if (pattern.split(".").some((segment) => !segment || /[\p{C}\p{Z}]/u.test(segment))) {
    throw new InvalidTopic(`${pattern}: segments between dots are printable, without spaces and not empty`);
  }
}

/** Whether `pattern` matches `name`, both as segments. All states are walked at once, so it is never exponential. */
export function matches(pattern: string[], name: string[]): boolean {
  let states = new Set([0]);
  for (const segment of name) {
    const following = new Set<number>();
    for (const state of states) {
      if (pattern[state - 1] === ">") following.add(state);
      const expected = pattern[state];
      if (expected === segment || expected === "*" || expected === ">") following.add(state + 1);
    }
    states = following;
  }
  return states.has(pattern.length);
}
