// Works through a tenant's log as one client of a durable consumer; start several, and they share the work.
//
//     calbridge consumer create mails --filter 'kind = APPEARED'
//     node work.js --consumer mails

import { parseArgs } from 'node:util';
import { Connection, FLAGS } from './client/connect.js';
import { consume } from './client/consume.js';
import { isRefusal, refusal, text } from './client/errors.js';
import { fromReflection } from './client/schema.js';

const { values: flags } = parseArgs({
  options: { ...FLAGS, tenant: { type: 'string', default: 'default' }, consumer: { type: 'string' } },
});
if (!flags.consumer) {
  console.error('--consumer NAME is missing');
  process.exit(2);
}

/** Your own work. It may come twice: remember `position` in the same transaction. */
async function handle({ transition }) {
  console.log(transition.position, transition.uid, transition.kind, transition.to_status);
}

try {
  const connection = new Connection(flags);
  const { ConsumerService } = await fromReflection(connection);
  const open = { tenant: flags.tenant, consumer: flags.consumer };
  await consume(connection.client(ConsumerService), open, handle);
} catch (error) {
  if (!isRefusal(error)) {
    throw error;
  }
  console.error(text(refusal(error)));
  process.exit(1);
}
