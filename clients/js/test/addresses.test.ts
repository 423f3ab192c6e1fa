import assert from "node:assert/strict";
import { test } from "node:test";
import { isGlobal, isPublicName, mayName } from "../src/addresses.js";

const FORBIDDEN = [
  "127.0.0.1",
  "127.1",
  "0x7f.1",
  "0177.0.0.1",
  "2130706433",
  "127.0.0.1.",
  "0.0.0.0",
  "0",
  "localhost",
  "localhost.",
  "sub.localhost.",
  "router",
  "router.lan",
  "nas.local",
  "metadata.google.internal",
  "metadata.google.internal.",
  "metadata.goog",
  "169.254.169.254",
  "168.63.129.16",
  "100.100.100.200",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.1.1",
  "192.0.2.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "192.88.99.1",
  "224.0.0.1",
  "255.255.255.255",
  "8.8.8",
  "08.8.8.8",
  "8.8.8.8.",
  "1.1.1.1.1",
  "a.0x7f",
  "a..b.org",
  "",
  "[::1]",
  "[::]",
  "[::ffff:7f00:1]",
  "[::ffff:127.0.0.1]",
  "[::7f00:1]",
  "[2002:7f00:1::1]",
  "[2001:0:a00:1::1]",
  "[2001::1]",
  "[64:ff9b::7f00:1]",
  "[64:ff9b:1::a00:1]",
  "[fe80::1]",
  "[fec0::1]",
  "[fd00:ec2::254]",
  "[fd00::1]",
  "[ff02::1]",
  "[2001:db8::1]",
  "[3fff::1]",
  "[2606:4700:0:0::1]",
  "[2606:4700::1%eth0]",
]; // prettier-ignore

for (const host of FORBIDDEN)
  test(`no stranger has us connect to ${host}`, () => assert.equal(mayName(`wss://${host}:8443/`), false));

for (const host of ["8.8.8.8", "172.32.0.1", "[2606:4700::1]", "relay.example.org", "xn--mnchen-3ya.de"])
  test(`relays of the internet are gone to: ${host}`, () => assert.ok(mayName(`wss://${host}/`)));

for (const url of [
  "ws://8.8.8.8/",
  "ws://relay.example.org:8080/",
  "wss://relay.example.org/a/path/",
  "wss://relay.example.org:25/",
  "wss://relay.example.org:65536/",
  "wss://user@relay.example.org/",
])
  test(`no stranger chooses ${url}`, () => assert.equal(mayName(url), false));

test("addresses and names are told apart", () => {
  assert.ok(isGlobal("2606:4700::1"));
  assert.ok(!isPublicName("8.8.8.8"));
  assert.ok(!isGlobal("relay.example.org"));
});
