// Following a tenant's log, with a cursor of one's own.
//
// Every entry comes in its order, and none is left out, however often the connection, the service or this program ends.
// What was not dealt with at the end of the program comes again.

import { existsSync, readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isPassing } from './errors.js';

// Between two tries while the service is away: drawn between half of it and all of it, twice as long each time.
const PAUSE_FIRST_MS = 100;
const PAUSE_LONGEST_MS = 10_000;

/** A position in a file. What was written is there after a crash, the old one or the new one, never half of it. */
export class Cursor {
  #path;

  constructor(path) {
    this.#path = path;
    this.position = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  }

  async move(position) {
    const file = await open(`${this.#path}.new`, 'w');
    try {
      await file.writeFile(position);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.new`, this.#path);
    this.position = position;
  }
}

/**
 * Transitions, and with `include_recorded: true` deliveries that change no booking.
 *
 * An entry is dealt with when the next one is asked for: then the cursor moves. `caughtUp` is called with each
 * heartbeat, the first of which comes at the end of what is kept. `request` is the rest of a
 * `WatchTransitionsRequest`. CURSOR_EXPIRED, like everything else that does not pass, is thrown.
 */
export async function* watch(bookings, request, cursor, caughtUp = async () => {}) {
  const pauses = new Pauses();
  for (;;) {
    const call = bookings.WatchTransitions({ ...request, after_position: cursor.position });
    try {
      for await (const response of call) {
        pauses.beginAgain();
        const entry = response[response.entry];
        if (response.entry === 'heartbeat') {
          // It moves the cursor past what the filter leaves out, so that it does not grow old.
          await caughtUp();
        } else {
          yield entry;
        }
        await cursor.move(entry.position);
      }
      return;
    } catch (error) {
      if (!isPassing(error)) {
        throw error;
      }
    } finally {
      call.cancel();
    }
    await pauses.wait();
  }
}

/** Between tries, longer each time, and never the same for two clients. */
export class Pauses {
  #next = PAUSE_FIRST_MS;

  beginAgain() {
    this.#next = PAUSE_FIRST_MS;
  }

  async wait() {
    await sleep(this.#next * (0.5 + Math.random() / 2));
    this.#next = Math.min(this.#next * 2, PAUSE_LONGEST_MS);
  }
}
