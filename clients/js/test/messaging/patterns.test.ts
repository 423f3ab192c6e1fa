/** Which patterns match a name. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { matches } from "../../src/messaging/patterns.js";

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
