/** Who has a place, who gives way, and how much is held. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Scope } from "../../../../src/identity/circles.js";
import {
  HELD_OF_NETWORK,
  HELD_OF_PEER,
  HELD_OF_STRANGERS,
  OF_NETWORK,
  OF_PEER,
  OF_STRANGER,
  OF_STRANGERS,
  type Placed,
  SeriesPlaces,
} from "../../../../src/messaging/series/protocol/places.js";

function guest(sender: string, scope: Scope, party: string = "relay", more: Partial<Placed> = {}): Placed {
  return { sender, scope, party, pulled: 0, open: true, held: 0, ...more };
}

test("a friend has many places, a stranger few", () => {
  const places = new SeriesPlaces();
  for (const [scope, most] of [
    ["friends", OF_PEER],
    ["public", OF_STRANGER],
  ] as const) {
    const guests = Array.from({ length: most }, () => guest(scope, scope));
    for (const one of guests) {
      assert.equal(places.full(scope, scope), false);
      places.take(one);
    }
    assert.equal(places.full(scope, scope), true);
    places.leave(guests[0]!);
    assert.equal(places.full(scope, scope), false);
  }
  assert.equal(places.needsRoom("friends", "relay"), false);
});

test("of a network that is full who has most gives way, with what was not pulled for longest", () => {
  const places = new SeriesPlaces();
  for (let count = 0; count < OF_NETWORK; count++)
    places.take(guest(`eve ${Math.floor(count / 4)}`, "public", "relay", { pulled: 100 - count }));
  places.take(guest("away", "public", "another", { pulled: -1 }));
  assert.deepEqual([places.needsRoom("public", "relay"), places.needsRoom("public", "another")], [true, false]);
  assert.equal(places.loser("alice", "relay")?.pulled, 100 - (OF_NETWORK - 1));
  assert.equal(places.loser("eve 0", "relay"), undefined, "nobody has more");
});

test("all strangers have so many, and whoever is closed does not give way", () => {
  const places = new SeriesPlaces();
  const all = Array.from({ length: OF_STRANGERS }, (_, count) =>
    guest(`eve ${Math.floor(count / 8)}`, "public", `relay ${count}`, { open: count >= 8 }),
  );
  for (const one of all) places.take(one);
  assert.equal(places.needsRoom("public", "new"), true);
  assert.equal(places.loser("alice", "new"), all[8]);
});

test("what waits for pulls has bounds: of a friend, of a network, of all strangers", () => {
  const places = new SeriesPlaces();
  const friend = guest("bob", "friends", "relay", { held: HELD_OF_PEER - 5 });
  places.take(friend);
  assert.deepEqual([places.holds(friend, 5), places.holds(friend, 6)], [true, false]);
  assert.equal(places.holds(guest("carol", "friends"), HELD_OF_PEER), true);
  const eve = guest("eve", "public", "relay", { held: HELD_OF_NETWORK - 5 });
  places.take(eve);
  assert.deepEqual([places.holds(eve, 5), places.holds(guest("mallory", "public"), 6)], [true, false]);
  assert.equal(places.holds(guest("mallory", "public", "another"), 6), true);
  for (let network = 0; network < HELD_OF_STRANGERS / HELD_OF_NETWORK; network++)
    places.take(guest("eve", "public", `${network}`, { held: HELD_OF_NETWORK }));
  assert.equal(places.holds(guest("mallory", "public", "another"), 1), false);
});
