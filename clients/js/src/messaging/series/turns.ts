/** Turns of the event loop. They come sooner than any timer, which browsers hold up in pages that nobody sees. */

/** Resolves in the next turn of the loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Gives each of those who ask a turn of the loop in which none of the others goes on. */
export class Turns {
  private last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.last = this.last.then(nextTurn);
    return this.last;
  }
}
