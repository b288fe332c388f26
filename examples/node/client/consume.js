// One client of a durable consumer: the service keeps the cursor, and deals entries out to all clients that it has.
//
// Each entry comes at least once. So do what you do for it in one transaction with its position, and pass by what is
// there.

import { isPassing } from './errors.js';
import { Pauses } from './watch.js';

// A service that was told the last word answers it with the end of the call; one that hangs is left.
const GOODBYE_MS = 5_000;

/** A call of `Consume`: iterate over its items, say of each what became of it, and close it. */
export class Consumption {
  #call;
  #responses;

  /** `open` is tenant, consumer and max_in_flight. */
  constructor(consumers, open) {
    /** Ids of which the service heard too late: their leases had ended, and they may be out to another client. */
    this.lost = [];
    this.#call = consumers.Consume();
    this.#responses = this.#call.iterator({ destroyOnReturn: false });
    this.#call.write({ open });
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const { done, value } = await this.#responses.next();
      if (done) {
        return;
      }
      if (value.response === 'item') {
        yield value.item;
      } else if (value.response === 'leases_lost') {
        this.lost.push(...value.leases_lost.ids);
      }
    }
  }

  /** These are dealt with. */
  ack(...ids) {
    this.#call.write({ ack: { ids } });
  }

  /**
   * RETRY: again after a pause, the consumer's own unless `delay` says another. PARK: a dead letter now. SKIP: let it
   * go. Operators read the reason, so it holds no personal data.
   */
  nack(id, { action = 'RETRY', reason = '', delay = undefined } = {}) {
    this.#call.write({ nack: { id, action: `NACK_ACTION_${action}`, reason, delay } });
  }

  /** These take longer: each is out for another `ack_wait` from now. */
  extend(...ids) {
    this.#call.write({ extend: { ids } });
  }

  /** What was said is heard by the service; what was not settled goes to others at once. */
  async close() {
    this.#call.end();
    const patience = setTimeout(() => this.#call.cancel(), GOODBYE_MS);
    const rest = this[Symbol.asyncIterator]();
    try {
      // Items that come now go to others.
      while (!(await rest.next()).done);
    } catch {
      // What the service did not hear comes again.
    } finally {
      clearTimeout(patience);
    }
  }
}

/**
 * Hands every item to `handle`, and acks it when that is done; what it throws is a nack. Goes on for ever: a service
 * that is away comes back. What does not pass, such as CONSUMER_PAUSED, is thrown.
 */
export async function consume(consumers, open, handle) {
  const pauses = new Pauses();
  for (;;) {
    const client = new Consumption(consumers, open);
    try {
      for await (const item of client) {
        pauses.beginAgain();
        await handle(item).then(
          () => client.ack(item.id),
          // Whatever it is: one entry that fails must not stop the others.
          (failure) => client.nack(item.id, { reason: failure.name }),
        );
      }
    } catch (error) {
      if (!isPassing(error)) {
        throw error;
      }
    } finally {
      await client.close();
    }
    await pauses.wait();
  }
}
