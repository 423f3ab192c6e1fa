const FIRST_DELAY = 250; // milliseconds

/** Delays that double up to `longest`, each shortened by up to half so that peers do not come in step. */
export class Backoff {
  private delay = FIRST_DELAY;

  constructor(private readonly longest: number) {}

  reset(): void {
    this.delay = FIRST_DELAY;
  }

  /** Milliseconds to wait now. */
  next(): number {
    const delay = this.delay;
    this.delay = Math.min(delay * 2, this.longest);
    return delay * (1 - Math.random() / 2);
  }
}
