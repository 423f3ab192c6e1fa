/** Names of lists. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidName } from "../../src/errors.js";
import { Identity } from "../../src/identity/keys.js";
import { checkListName, isListName, meaningOf } from "../../src/identity/names.js";

test("the name of a list is @ and some printable characters", () => {
  for (const name of ["@family", "@a", "@die Familie", "@семья", `@${"x".repeat(64)}`, `@${"𝄞".repeat(64)}`]) {
    checkListName(name);
    assert.equal(isListName(name), true);
  }
  const signId = Identity.generate().signId;
  const wrong = [
    "",
    "@",
    "family",
    "@@family",
    "@-x",
    "@ x",
    "@x ",
    "@a\nb",
    "@a\u202eb",
    `@${signId}`,
    "@friends",
    "@local",
  ];
  for (const name of [...wrong, `@${"x".repeat(65)}`, undefined, 7])
    assert.throws(() => checkListName(name as string), InvalidName, String(name));
});

test("some words mean something already", () => {
  assert.deepEqual([meaningOf("@public"), meaningOf("@constructor")], ["everybody else", undefined]);
});
