/**
 * Lists of peers, as "@family": destinations for messages that go to several. They exist here only.
 *
 *     node/lists   [[name, [signId]]]
 */

import { decode, encode } from "./codec.js";
import { InvalidKey, InvalidName, LocalError } from "./errors.js";
import { parseSignId, type SignId } from "./identity/keys.js";
import { checkListName, type ListName } from "./identity/names.js";
import { escaped } from "./text.js";

/** `saved` has what was saved before; `changed` is called after each change with what is to be saved. */
export class Lists implements Iterable<ListName> {
  private readonly lists: Map<string, readonly SignId[]>;

  constructor(
    private readonly own: SignId,
    saved: Uint8Array | undefined,
    private readonly changed: (saved: Uint8Array) => void,
  ) {
    const rows = saved ? (decode(saved, Infinity) as [string, string[]][]) : [];
    this.lists = new Map(rows.map(([name, members]) => [name, members.map(parseSignId)]));
  }

  /** The names, in the order of the alphabet. */
  [Symbol.iterator](): Iterator<ListName> {
    return ([...this.lists.keys()] as ListName[]).sort().values();
  }

  has(name: string): boolean {
    return this.lists.has(name);
  }

  /** The members, in the order in which they came. Throws InvalidKey when there is no such list. */
  members(name: string): readonly SignId[] {
    const members = this.lists.get(name);
    if (!members) throw new InvalidKey(`${escaped(name)} is not the name of a list here`);
    return members;
  }

  /** Make a list. Throws InvalidName for a name that means something else or is that of a list, or InvalidKey. */
  make(name: ListName, ...peers: string[]): ListName {
    checkListName(name);
    if (this.has(name)) throw new InvalidName(`${name} is a list already; extend it, or choose another name`);
    this.put(name, this.checked(peers));
    return name;
  }

  /** Take peers into a list; who is in it already stays. Throws InvalidKey. */
  extend(name: string, ...peers: string[]): void {
    this.put(name, [...this.members(name), ...this.checked(peers)]);
  }

  /** Take peers out of a list. Throws InvalidKey, or LocalError for somebody who is not in it. */
  shorten(name: string, ...peers: string[]): void {
    const members = this.members(name);
    const strangers = peers.filter((peer) => !members.includes(peer as SignId));
    if (strangers.length) throw new LocalError(`${strangers.join(", ")}: not in ${name}`);
    this.put(
      name,
      members.filter((member) => !peers.includes(member)),
    );
  }

  /** Forget a list; what was sent to it goes on. Throws InvalidKey. */
  remove(name: string): void {
    this.members(name);
    this.lists.delete(name);
    this.save();
  }

  private checked(peers: string[]): SignId[] {
    const members = peers.map(parseSignId);
    if (members.includes(this.own)) throw new LocalError("this is our own key: a list is of others");
    return members;
  }

  private put(name: string, members: readonly SignId[]): void {
    this.lists.set(name, [...new Set(members)]);
    this.save();
  }

  private save(): void {
    this.changed(encode([...this.lists]));
  }
}
