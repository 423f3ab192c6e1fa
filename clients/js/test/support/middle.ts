/** A transport in memory, like a relay: addresses lead through a middle, and its connections can be cut. */

import type { Accept, Connection, Receiver, Transport, TransportHost } from "../../src/plugins/transport.js";

/** A relay in memory: connections that can be cut. */
export class Middle {
  readonly accepts = new Map<string, Accept>();
  readonly ends: MiddleConnection[] = [];

  cut(): void {
    for (const end of this.ends.splice(0)) end.lose(new Error("cut"));
  }
}

class MiddleConnection implements Connection {
  readonly address = "middle:";
  readonly maxFrame = 65536;
  readonly cost = 40;
  readonly relayed = true;
  receiver!: Receiver;
  other!: MiddleConnection;
  private over = false;

  write(frame: Uint8Array): void {
    const { other } = this;
    const copy = frame.slice();
    setTimeout(() => other.over || other.receiver.frameReceived(copy), 1);
  }

  close(): void {
    setTimeout(() => this.abort(), 2);
  }

  abort(): void {
    this.lose(undefined);
    this.other.lose(undefined);
  }

  lose(error: Error | undefined): void {
    if (this.over) return;
    this.over = true;
    queueMicrotask(() => this.receiver.connectionLost(error));
  }
}

export class ThroughTheMiddle implements Transport {
  readonly schemes = ["middle"];
  readonly cost = 40;
  readonly relayed = true;
  private host!: TransportHost;

  constructor(private readonly middle: Middle) {}

  attach(host: TransportHost): void {
    this.host = host;
  }

  async dial(address: string, _peer: string, accept: Accept): Promise<Connection> {
    const [here, there] = [new MiddleConnection(), new MiddleConnection()];
    [here.other, there.other] = [there, here];
    there.receiver = this.middle.accepts.get(address)!(there);
    here.receiver = accept(here);
    this.middle.ends.push(here, there);
    return here;
  }

  async listen(hint: string, accept: Accept): Promise<string[]> {
    const address = `${hint}${this.host.identity.signId}`;
    this.middle.accepts.set(address, accept);
    return [address];
  }

  async close(): Promise<void> {}
}
