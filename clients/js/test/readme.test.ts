/** Every block of TypeScript in README.rst passes the compiler, as strictly as the source. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER = `${ROOT}build/readme/`;
const HEAD = `
import type { Platform, SignId } from "mm-platform";
declare const platform: Platform;
declare const bot: SignId;
`;

/** The blocks, with what the page speaks of where one is no program of its own. */
function modules(): string[] {
  const page = readFileSync(`${ROOT}README.rst`, "utf8");
  const found = page.matchAll(/^\.\. code-block:: typescript\n\n((?: {4}.*\n|\n)+)/gm);
  const blocks = Array.from(found, ([, block]) => block!.replace(/^ {4}/gm, ""));
  return blocks.map((block) => (/^import /m.test(block) ? block : HEAD + block));
}

test("what is shown compiles", () => {
  const all = modules();
  assert.ok(all.length >= 4);
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const [number, module] of all.entries()) writeFileSync(`${FOLDER}block${number}.ts`, module);
  const settings = {
    extends: "../../tsconfig.src.json",
    compilerOptions: {
      noEmit: true,
      outDir: "out",
      rootDir: "../..",
      noUnusedParameters: false,
      paths: { "mm-platform": ["../../src/index.ts"] },
    },
    include: ["*.ts"],
  };
  writeFileSync(`${FOLDER}tsconfig.json`, JSON.stringify(settings));
  const compiler = `${ROOT}node_modules/typescript/bin/tsc`;
  const { stdout, stderr } = spawnSync(process.execPath, [compiler, "--project", FOLDER], { encoding: "utf8" });
  assert.equal(stdout + stderr, "");
});
