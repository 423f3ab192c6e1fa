/** Pure: which patterns match a name. Both are segments joined by dots; in a pattern `*` is one segment, `>` one or more. */

import { InvalidTopic } from "../errors.js";
import { SCOPES } from "../identity/circles.js";
import { checkSegments } from "../message.js";

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

/** Throws InvalidTopic unless something can match it: a scope, or a wildcard, and the segments of a topic. */
export function checkPattern(pattern: string): void {
  checkSegments(pattern);
  const [scope = "", ...rest] = pattern.split(".");
  if (scope.includes("/") || rest.some((segment) => segment === "#" || segment === "+")) {
    throw new InvalidTopic(`${pattern}: segments are parted by dots; * is any one, > is one or more: "friends.a.>"`);
  }
  if (![...SCOPES, "*", ">"].includes(scope)) {
    throw new InvalidTopic(
      `${pattern}: a pattern begins with the scope of the senders: "friends.${rest.join(".") || scope}" is for what ` +
        "friends send; there are self, friends and public, and * for all three",
    );
  }
  if (!rest.length && scope !== ">") {
    throw new InvalidTopic(`${pattern}: a topic is missing: "${scope}.chat" for one, "${scope}.>" for all`);
  }
}

/** Throws InvalidTopic when a topic for a peer begins with a scope, which the receiver puts in front. */
export function checkUnscoped(topic: string): void {
  const [scope, ...rest] = topic.split(".");
  if (rest.length && SCOPES.some((each) => each === scope)) {
    const meant = rest.join(".");
    throw new InvalidTopic(
      `${topic}: the receiver puts the scope in front, by who sends: send "${meant}", which is "friends.${meant}" to ` +
        "a friend",
    );
  }
}
