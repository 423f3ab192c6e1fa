/** docs/protocol/vectors/webrtc.json: descriptions and candidates. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  candidateLine,
  chosen,
  describe,
  parse,
  parseCandidate,
} from "../../../../src/transports/webrtc/protocol/sdp.js";
import { reasonOf, vectors } from "../../../support/vectors.js";

const cases = vectors("webrtc");

for (const item of cases.descriptions) {
  test(`description: ${item.name}`, () => {
    const description = parse(item.sdp);
    const { ufrag, password, fingerprint, setup, complete } = description;
    const candidates = description.candidates.map(candidateLine);
    const { name: _, sdp, ...expected } = item;
    assert.deepEqual({ ufrag, password, fingerprint, setup, candidates, complete }, expected);
    assert.equal(describe(description), sdp);
  });
}

for (const item of cases.foreignDescriptions) {
  test(`foreign description: ${item.name}`, () => assert.equal(describe(parse(item.sdp)), item.writtenAnew));
}

for (const item of cases.invalidDescriptions) {
  test(`no description: ${item.name}`, () =>
    assert.equal(
      reasonOf(() => parse(item.sdp)),
      "bad-sdp",
    ));
}

for (const item of cases.usefulCandidates) {
  test(`candidate: ${item.name}`, () => assert.ok(parseCandidate(item.line)));
}

for (const item of cases.uselessCandidates) {
  test(`dropped candidate: ${item.name}`, () => assert.equal(parseCandidate(item.line), undefined));
}

for (const item of cases.invalidCandidates) {
  test(`no candidate: ${item.name}`, () =>
    assert.equal(
      reasonOf(() => parseCandidate(item.line)),
      "bad-sdp",
    ));
}

test("candidates that others see are tried first", () => {
  const line = (kind: string, port: number): string => `candidate:1 1 udp 1 10.9.0.1 ${port} typ ${kind}`;
  const hosts = Array.from({ length: 12 }, (_, index) => parseCandidate(line("host", 2000 + index))!);
  const found = chosen([...hosts, parseCandidate(line("srflx", 3000))!]);
  assert.equal(found.length, 10);
  assert.equal(found[0]!.port, 3000);
});
