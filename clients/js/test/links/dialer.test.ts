/** Every address of a record gets its turn, soon. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Unreachable } from "../../src/errors.js";
import { MAX_ADDRESSES } from "../../src/identity/nodeinfo.js";
import { Dialer } from "../../src/links/dialer.js";
import type { LinkFactory } from "../../src/links/factory.js";
import type { Link } from "../../src/links/link.js";
import type { Transport } from "../../src/plugins/transport.js";

test("the last address of a record is dialled", async () => {
  const addresses = Array.from({ length: MAX_ADDRESSES }, (_, number) => `relay+ws://${number}`);
  const dialled: string[] = [];
  const link = {} as Link;
  const factory = {
    async open(_peer: string, address: string): Promise<Link> {
      dialled.push(address);
      if (address !== addresses.at(-1)) throw new Unreachable("dead");
      return link;
    },
  };
  const transport = { schemes: ["relay+ws"] } as unknown as Transport;
  const began = performance.now();
  assert.equal(await new Dialer(factory as unknown as LinkFactory, [transport]).dial("peer" as never, addresses), link);
  assert.equal(dialled.length, MAX_ADDRESSES);
  assert.ok(performance.now() - began < 2_000);
});
