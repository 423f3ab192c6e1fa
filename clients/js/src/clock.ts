/** Notices that the clock of this device is days off: by what friends say, and by tickets that are made in the future. */

import { ClockWrong } from "./errors.js";

const TOLERATED = 24 * 3600 * 1000; // milliseconds: records are good for two weeks, mail for as long
const DAY = 24 * 3600 * 1000;

export class Clock {
  private told = false;

  constructor(
    private readonly failed: (error: Error) => void,
    private readonly now: () => number = Date.now,
  ) {}

  /** Somebody's time, in Unix milliseconds; `past`: when something was made, which may be long ago. Told once. */
  heard(theirs: number, past: boolean): void {
    const ahead = this.now() - theirs;
    if (past ? -ahead <= TOLERATED : Math.abs(ahead) <= TOLERATED) {
      if (!past) this.told = false;
      return;
    }
    if (this.told) return;
    this.told = true;
    const days = Math.round(Math.abs(ahead) / DAY);
    this.failed(
      new ClockWrong(
        `the clock of this device is ${days} days ${ahead > 0 ? "ahead of" : "behind"} that of others: set it; until then ` +
          "peers and tickets may look expired, and this page to them",
      ),
    );
  }
}
