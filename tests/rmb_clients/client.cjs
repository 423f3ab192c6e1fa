// Drives one client of the genuine package: told what to do by lines of JSON, it says by lines of JSON what came of it.
//   node client.cjs CHAIN RELAY SECRET SESSION KEYTYPE
//   {"id": 1, "to": 30, "command": "calc.add", "payload": [1, 2], "minutes": 1}  ->  {"id": 1, "value": 3} or {"id": 1, "error": "..."}
const readline = require("node:readline");

console.log = console.debug = () => {}; // the package logs there
const say = value => process.stdout.write(JSON.stringify(value) + "\n");
const { Client } = require("@threefold/rmb_direct_client");
const [chain, relay, secret, session, keyType] = process.argv.slice(2);

async function ask(client, { id, to, command, payload, minutes }) {
  try {
    const uid = await client.send(command, payload === null ? "" : JSON.stringify(payload), to, minutes);
    say({ id, sent: true });
    say({ id, value: await client.read(uid) });
  } catch (error) {
    say({ id, error: String(error.message) });
  }
}

(async () => {
  const began = Date.now();
  const client = new Client(chain, relay, secret, session, keyType, 3);
  await client.connect();
  say({ connected: client.twin.id, after: Date.now() - began });
  for await (const line of readline.createInterface({ input: process.stdin })) ask(client, JSON.parse(line));
  process.exit(0);
})().catch(error => {
  say({ failed: String(error.message) });
  process.exit(1);
});
