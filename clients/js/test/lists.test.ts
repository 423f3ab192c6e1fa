/** Lists of peers, and what is kept of them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "../src/codec.js";
import { InvalidKey, InvalidName, LocalError } from "../src/errors.js";
import { Identity } from "../src/identity/keys.js";
import { Lists } from "../src/lists.js";

const [OWN, BOB, CAROL, DAVE] = Array.from({ length: 4 }, () => Identity.generate().signId) as [
  never,
  never,
  never,
  never,
];

/** A node's lists, and what was saved last. */
function lists(saved?: Uint8Array): { lists: Lists; saved: () => Uint8Array | undefined } {
  let last = saved;
  const made = new Lists(OWN, saved, (changed) => {
    last = changed;
  });
  return { lists: made, saved: () => last };
}

test("lists are made, extended, shortened and removed, and are there after a reload", () => {
  const { lists: first, saved } = lists();
  assert.equal(first.make("@family", BOB, CAROL, BOB), "@family");
  first.extend("@family", DAVE, BOB);
  assert.deepEqual(first.members("@family"), [BOB, CAROL, DAVE]);
  first.shorten("@family", CAROL);
  first.make("@chess");
  const { lists: second, saved: savedLater } = lists(saved());
  assert.deepEqual(
    [[...second], second.members("@family")],
    [
      ["@chess", "@family"],
      [BOB, DAVE],
    ],
  );
  second.remove("@family");
  assert.deepEqual([[...lists(savedLater()).lists], second.has("@family")], [["@chess"], false]);
});

test("what is no list, or nobody, is said", () => {
  const { lists: mine, saved } = lists();
  mine.make("@family", BOB);
  const before = saved();
  assert.throws(() => mine.make("@family", CAROL), InvalidName);
  assert.throws(() => mine.make("@friends", CAROL), InvalidName);
  assert.throws(() => mine.make("@chess", "bob"), InvalidKey);
  assert.throws(() => mine.make("@chess", OWN), LocalError);
  assert.throws(() => mine.extend("@chess", CAROL), InvalidKey);
  assert.throws(() => mine.members("@constructor"), InvalidKey);
  assert.throws(() => mine.shorten("@family", CAROL), /not in @family/);
  assert.throws(() => mine.remove("@chess"), InvalidKey);
  assert.deepEqual([[...mine], saved()], [["@family"], before]);
});

test("saved members are keys", () => {
  assert.throws(() => lists(encode([["@family", ["bob"]]])), InvalidKey);
});
