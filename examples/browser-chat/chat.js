/** The page of a chat with the bot whose ticket is in the address: index.html#TICKET. */

import { Platform, parseTicket } from "../../clients/js/dist/mm-platform.js";

const element = (id) => document.getElementById(id);

function show(text, kind = "") {
  const line = document.createElement("li");
  line.textContent = text;
  line.className = kind;
  element("messages").append(line);
  return line;
}

const ticket = location.hash.slice(1);
const { addresses } = parseTicket(ticket, Date.now() / 1000);
const platform = await Platform.create({ relays: addresses.filter((address) => address.startsWith("relay+")) });
const bot = platform.add(ticket, "friends");

const way = (address) => (address === "webrtc:" ? "directly" : "over the relay");
platform.on("path", (peer, address) => (element("status").textContent = `connected ${way(address)}, end to end encrypted`));
platform.on("disconnected", (peer, reason) => (element("status").textContent = `away: ${reason}`));
platform.messaging.on("friends.chat", (name, sender, { text }) => void show(text));

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = element("text").value;
  element("form").reset();
  const line = show(text, "mine");
  if (text === "/time") show(await platform.messaging.request("time", bot));
  else await (await platform.messaging.send("chat", bot, { text })).done();
  line.classList.add("delivered");
});

element("status").textContent = "ready";
await platform.connect(bot).catch((error) => (element("status").textContent = error.message));
