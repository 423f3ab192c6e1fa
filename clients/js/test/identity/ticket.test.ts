/** docs/protocol/vectors/nodeinfo.json: tickets. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { hex } from "../../src/bytes.js";
import { TicketError } from "../../src/errors.js";
import { parseTicket, ticket } from "../../src/identity/ticket.js";
import { vectors } from "../support/vectors.js";

const records = vectors("nodeinfo");

for (const item of records.tickets) {
  test(`ticket: ${item.name}`, () => {
    if (item.record === undefined || item.reason) {
      assert.throws(() => parseTicket(item.ticket, records.now), TicketError);
      return;
    }
    const info = parseTicket(item.ticket, records.now);
    assert.equal(hex(info.record), item.record);
    assert.equal(parseTicket(ticket(info), records.now).signId, info.signId);
  });
}
