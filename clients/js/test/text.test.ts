/** The words of others: what steers a terminal or forges a line is written out, all else stays. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { MMError, Refused } from "../src/errors.js";
import { Emitter } from "../src/events.js";
import { escaped, traceOf } from "../src/text.js";

const HOSTILE = "\u001b]0;PWNED\u0007\u009b31m\u202e$ \r\nforged";
const SHOWN = "\\x1b]0;PWNED\\x07\\x9b31m\\u202e$ \\r\\nforged";

test("what others say is one line and steers no terminal", () => {
  assert.equal(escaped(HOSTILE), SHOWN);
  assert.equal(escaped("\u2028\u2029\u0085\ud800\u200b\u{e0041}"), "\\u2028\\u2029\\x85\\ud800\\u200b\\u{e0041}");
  assert.equal(escaped("ä 漢 👩‍💻 می‌خواهم"), "ä 漢 👩‍💻 می‌خواهم");
  assert.equal(escaped(SHOWN), SHOWN);
  assert.equal(escaped("x".repeat(1000)).length, 515);
});

test("an error of ours carries no control character of others", () => {
  assert.equal(new Refused(HOSTILE).message, SHOWN);
  assert.equal(new MMError(HOSTILE).message, SHOWN);
});

test("what nobody listens to is shown on the console, escaped", (context) => {
  const shown = context.mock.method(console, "error", () => undefined);
  new Emitter().emit("error", new Error(HOSTILE), "public.a\u001b");
  const [, text, topic] = (shown.mock.calls[0]?.arguments ?? []) as string[];
  assert.equal(text?.split("\n")[0], `Error: ${SHOWN}`);
  assert.match(text ?? "", /\n\s+at /);
  assert.equal(topic, "public.a\\x1b");
  assert.ok(!traceOf(new Error(HOSTILE)).includes("\u001b"));
});
