/** Names of errors: texts, which no minifier shortens, and which peers are told. */

import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

import * as errors from "../src/errors.js";
import { textOf } from "../src/peers/reception.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

type Kind = new (...values: string[]) => Error;

function kinds(of: object): [string, Kind][] {
  const found = Object.entries(of) as [string, unknown][];
  return found.filter((entry): entry is [string, Kind] => (entry[1] as Kind)?.prototype instanceof Error);
}

test("every error says its name, as the source has it", () => {
  assert.ok(kinds(errors).length > 30);
  for (const [name, Kind] of kinds(errors)) assert.equal(new Kind("why", "").name, name);
});

test("names survive a bundler that minifies, and so do peers read them", async () => {
  const outfile = `${ROOT}build/errors.min.mjs`;
  const contents = 'export * from "./errors.ts"; export { textOf } from "./peers/reception.ts";';
  const stdin = { contents, resolveDir: `${ROOT}src`, loader: "ts" as const };
  await build({ stdin, bundle: true, format: "esm", minify: true, keepNames: false, outfile });
  try {
    const minified = (await import(pathToFileURL(outfile).href)) as typeof errors & { textOf: typeof textOf };
    assert.doesNotMatch(readFileSync(outfile, "utf8"), /class StorageFull/);
    for (const [name, Kind] of kinds(minified)) assert.equal(new Kind("why", "").name, name);
    assert.equal(minified.textOf(new minified.StorageFull("no room")), "StorageFull: no room");
  } finally {
    rmSync(outfile, { force: true });
  }
});

test("what a minifier left of the name of an application's own error is not told to peers", () => {
  class E extends Error {
    override name: string = "t";
  }
  assert.equal(textOf(new E("why")), "Error: why");
  assert.equal(textOf(new TypeError("why")), "TypeError: why");
  assert.equal(textOf(new errors.Refused("not you")), "not you");
});
