// Prints each change of a tenant's bookings, and goes on tomorrow where it ends today.
//
//     node follow.js --cursor cursor.txt --filter 'status = SCHEDULED'

import { parseArgs } from 'node:util';
import { Connection, FLAGS } from './client/connect.js';
import { isRefusal, refusal, text } from './client/errors.js';
import { fromReflection } from './client/schema.js';
import { Cursor, watch } from './client/watch.js';

const { values: flags } = parseArgs({
  options: {
    ...FLAGS,
    tenant: { type: 'string', default: 'default' },
    cursor: { type: 'string' },
    filter: { type: 'string', default: '' },
    'stop-at-head': { type: 'boolean', default: false },
  },
});
if (!flags.cursor) {
  console.error('--cursor FILE is missing: it keeps the position');
  process.exit(2);
}

const connection = new Connection(flags);
try {
  const { BookingService } = await fromReflection(connection);
  const bookings = connection.client(BookingService);
  const request = { tenant: flags.tenant, filter: flags.filter, stop_at_head: flags['stop-at-head'] };
  for await (const entry of watch(bookings, request, new Cursor(flags.cursor))) {
    // What else there is to know of the booking is in `entry.booking`.
    console.log(entry.position, entry.uid, entry.kind, entry.to_status);
  }
  bookings.close();
} catch (error) {
  if (!isRefusal(error)) {
    throw error;
  }
  const refused = refusal(error);
  console.error(text(refused));
  if (refused.reason === 'CURSOR_EXPIRED') {
    // What was purged can't be told any more: read the bookings as they are, then follow from here.
    console.error(`earliest position: ${refused.metadata.earliest_position}`);
  }
  process.exit(1);
}
