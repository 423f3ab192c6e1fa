/** Serves series: hands what is asked to handlers, and answers the pulls of those who asked (docs/protocol/series.rst). */

import { encode } from "../../codec.js";
import { CodecError, Refused } from "../../errors.js";
import type { Scope } from "../../identity/circles.js";
import type { SignId } from "../../identity/keys.js";
import type { InHand, ProtocolHandler } from "../dispatch.js";
import { givesMany } from "../handlers.js";
import { NOBODY, type Result } from "../subscriber.js";
import { SeriesPlaces } from "./protocol/places.js";
import { decodePull, decodeStop, encodeBatch, KEEP, type Pull } from "./protocol/wire.js";
import { ServedSeries } from "./served.js";
import { Turns } from "./turns.js";

const LOOK = 5_000; // milliseconds between two looks at all series
const TOO_MANY = "too-many-series: end others before";
const OVERLOADED = "overloaded: others have come, and nobody has pulled for longer";
const UNKNOWN = "unknown-series: it has ended, or the peer has started anew";
const MOVED = "you are something else to the recipient by now";
const STOPPING = "stopping: the peer ends";

/** Hands a question to the handlers of an API; `signal` is for them. Their result may be a generator. */
export type Handlers = (
  scope: Scope,
  topic: string,
  sender: SignId,
  payload: Uint8Array,
  signal: AbortSignal,
  finished: (result: Result) => void,
) => void;

/** `failed` is told of generators that throw. */
export class SeriesServer implements ProtocolHandler {
  readonly largest = 0; // a stranger may send no more for this than the API takes
  private readonly open = new Map<string, ServedSeries>();
  private readonly places = new SeriesPlaces<ServedSeries>();
  private readonly turns = { strangers: new Turns(), others: new Turns() };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private looked = 0;
  private ending = false;

  constructor(
    private readonly handlers: Handlers,
    private readonly failed: (error: Error, topic: string) => void,
  ) {}

  /** Nothing durable is taken. */
  listens(): boolean {
    return false;
  }

  /** Close a series that its peer does not read on. */
  onEvent(_scope: Scope, _topic: string, sender: SignId, payload: Uint8Array): void {
    try {
      this.open.get(key(sender, decodeStop(payload)))?.close();
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
  }

  onMessage(_scope: Scope, _topic: string, _sender: SignId, _payload: Uint8Array, finished: (r: Result) => void): void {
    finished({ error: new Refused("bad-payload") });
  }

  /** Begin a series, or give the next batch of one. */
  onRequest(scope: Scope, topic: string, sender: SignId, payload: Uint8Array, asked: InHand): void {
    let pull: Pull;
    try {
      pull = decodePull(payload);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      asked.finish({ error: new Refused("bad-payload") });
      return;
    }
    const series = this.open.get(key(sender, pull.series));
    if (pull.number === 1 && !series) this.begin(scope, topic, sender, pull, asked);
    else if (series?.scope !== scope) asked.finish({ error: new Refused(UNKNOWN) });
    else if (pull.number === KEEP) this.keep(series, asked);
    else series.pull(pull.number, asked);
  }

  /** Circles have changed: end the series of who is something else by now, under the scope that it had before. */
  moved(scopeOf: (peer: SignId) => Scope): void {
    for (const series of [...this.open.values()])
      if (scopeOf(series.sender) !== series.scope) series.close(new Refused(MOVED));
  }

  /** End all series; no more begin. */
  close(): void {
    this.ending = true;
    clearTimeout(this.timer);
    for (const series of [...this.open.values()]) series.close(new Refused(STOPPING));
  }

  private begin(scope: Scope, topic: string, sender: SignId, { series, payload }: Pull, asked: InHand): void {
    const refused = this.refusal(scope, sender, series, asked.party);
    if (refused) {
      asked.finish({ error: new Refused(refused) });
      return;
    }
    const reader = new AbortController();
    this.handlers(scope, topic, sender, payload, reader.signal, (result) => {
      if (result === NOBODY || result.error) asked.finish(result.error ? { error: result.error } : NOBODY);
      else if (givesMany(result.value)) this.serve(scope, topic, sender, series, result.value, reader, asked);
      else asked.finish(only(result.value));
    });
  }

  private serve(
    scope: Scope,
    topic: string,
    sender: SignId,
    number: number,
    generator: AsyncGenerator,
    reader: AbortController,
    asked: InHand,
  ): void {
    const { party } = asked;
    const refused = this.refusal(scope, sender, number, party); // others may have begun meanwhile
    if (refused) {
      asked.finish({ error: new Refused(refused) });
      return;
    }
    if (this.places.needsRoom(scope, party)) this.places.loser(sender, party)?.close(new Refused(OVERLOADED));
    const name = key(sender, number);
    const turns = scope === "public" ? this.turns.strangers : this.turns.others;
    const series: ServedSeries = new ServedSeries(sender, scope, party, `${scope}.${topic}`, reader, {
      turn: () => turns.next(),
      holds: (size) => this.places.holds(series, size),
      over: () => {
        if (this.open.get(name) === series) this.open.delete(name);
        this.leave(series);
      },
      failed: this.failed,
    });
    this.open.set(name, series);
    this.places.take(series);
    series.pull(1, asked);
    void series.run(generator).then(() => this.leave(series));
    this.lookLater();
  }

  /** A series has its place until its generator is closed, and all that it yielded was read, or is read by nobody. */
  private leave(series: ServedSeries): void {
    if (series.done && series.over) this.places.leave(series);
  }

  /** Why no series may begin; "" when one may. */
  private refusal(scope: Scope, sender: SignId, series: number, party: string): string {
    if (this.ending) return STOPPING;
    if (this.open.has(key(sender, series))) return "bad-payload";
    const crowded = this.places.needsRoom(scope, party) && !this.places.loser(sender, party);
    return crowded || this.places.full(sender, scope) ? TOO_MANY : "";
  }

  /** A reader is there. Its word also wakes this side, whose timers may sleep in a page that nobody sees. */
  private keep(series: ServedSeries, asked: InHand): void {
    series.keep();
    asked.finish({ value: encodeBatch({ ended: false, replies: [] }) });
    if (performance.now() - this.looked >= LOOK) this.look();
  }

  private lookLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.look();
      if (this.open.size) this.lookLater();
    }, LOOK);
  }

  /** Answer the pulls that have waited for long, and close what nobody pulls any more. */
  private look(): void {
    this.looked = performance.now();
    for (const series of [...this.open.values()]) series.look();
  }
}

function key(sender: string, series: number): string {
  return `${sender}/${series}`;
}

/** The answer of a handler that is no generator. */
function only(value: unknown): Result<Uint8Array> {
  try {
    return { value: encodeBatch({ ended: true, replies: [encode(value ?? null)] }) };
  } catch (error) {
    return { error: error as Error };
  }
}
