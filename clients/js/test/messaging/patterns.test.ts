/** Which patterns match a name. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidTopic } from "../../src/errors.js";
import { checkPattern, checkUnscoped, matches } from "../../src/messaging/patterns.js";

test("patterns", () => {
  const cases: [string, string, boolean][] = [
    ["friends.chat", "friends.chat", true],
    ["friends.*", "friends.chat", true],
    ["friends.*", "friends.chat.a", false],
    ["*.chat", "self.chat", true],
    ["friends.>", "friends.a.b", true],
    ["friends.>", "friends", false],
    [">.b", "a.a.b", true],
    [">.b.>.c", "a.b.b.c", true],
    ["a.>.c", "a.c", false],
  ];
  for (const [pattern, name, expected] of cases)
    assert.equal(matches(pattern.split("."), name.split(".")), expected, `${pattern} ${name}`);
});

test("a pattern begins with a scope, and says what was meant when it does not", () => {
  for (const pattern of [">", "*.>", "self.a", "public.>.b", "*.a/b", "friends.c#"]) checkPattern(pattern);
  const wrong: [string, string][] = [
    ["chat", '"friends.chat"'],
    ["friend.chat", '"friends.chat"'],
    ["friends", '"friends.chat" for one'],
    ["friends/#", '"friends.a.>"'],
    ["friends.+.a", '"friends.a.>"'],
  ];
  for (const [pattern, meant] of wrong)
    assert.throws(
      () => checkPattern(pattern),
      (error) => error instanceof InvalidTopic && error.message.includes(meant),
      pattern,
    );
});

test("a topic for a peer has no scope", () => {
  for (const topic of ["chat", "friends", "friend.chat"]) checkUnscoped(topic);
  assert.throws(() => checkUnscoped("friends.chat"), InvalidTopic);
});
