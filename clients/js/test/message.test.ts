/** Which topics are well formed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidTopic } from "../src/errors.js";
import { checkTopic } from "../src/message.js";

test("topics", () => {
  for (const topic of ["a", "a.b", "é𝄞", "a".repeat(255)]) checkTopic(topic);
  for (const topic of ["", ".", "a.", "a..b", "a b", "a.*", ">", "a\u0000", "a\u200b", "é".repeat(128)]) {
    assert.throws(() => checkTopic(topic), InvalidTopic, JSON.stringify(topic));
  }
});
