// Runs the shared script ../conformance.json against a service: a line a step, exit code 1 at the first that fails.
//
//     node conformance.js --schema reflection
//     node conformance.js --schema proto --protos ../../proto --tenant acme --reader-token-file reader.token

import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Connection, FLAGS } from './client/connect.js';
import { Consumption } from './client/consume.js';
import { isRefusal, refusal, text } from './client/errors.js';
import { fromProtos, fromReflection } from './client/schema.js';
import { Cursor, watch } from './client/watch.js';
import { Mismatch, at, filled, mustHold, plain } from './script.js';

// No step takes longer, unless something that must come does not.
const PATIENCE_MS = 20_000;

const beside = (path) => fileURLToPath(new URL(path, import.meta.url));

const { values: flags } = parseArgs({
  options: {
    ...FLAGS,
    schema: { type: 'string', default: 'proto' },
    protos: { type: 'string', default: beside('../../proto') },
    script: { type: 'string', default: beside('../conformance.json') },
    tenant: { type: 'string', default: 'default' },
    'reader-token-file': { type: 'string' },
  },
});

/** What is known while the script runs. */
class Run {
  #api;
  #connections;
  #folder;
  #clients = new Map();

  constructor(api, connections, folder, values) {
    this.#api = api;
    this.#connections = connections;
    this.#folder = folder;
    this.values = values;
  }

  knows(who) {
    return who in this.#connections;
  }

  async step({ meanwhile, keep = {}, ...rest }) {
    const step = { ...filled(rest, this.values), meanwhile };
    let answer;
    try {
      const run = 'call' in step ? this.#call : 'watch' in step ? this.#watch : this.#consume;
      answer = await run.call(this, step);
    } catch (error) {
      if (!step.refused || !isRefusal(error)) {
        throw error;
      }
      mustHold(step.refused, refusal(error));
      return;
    }
    if (step.refused) {
      throw new Mismatch(`expected ${JSON.stringify(step.refused)}, seen an answer`);
    }
    mustHold(step.expect ?? {}, answer);
    Object.entries(keep).forEach(([name, path]) => (this.values[name] = at(answer, path)));
  }

  close() {
    this.#clients.forEach((client) => client.close());
  }

  #client(step, service) {
    const who = step.as ?? '';
    const name = `${who} ${service}`;
    if (!this.#clients.has(name)) {
      this.#clients.set(name, this.#connections[who].client(this.#api[service]));
    }
    return this.#clients.get(name);
  }

  /** One answer as it is; those of a stream as a list, by their sequence. */
  async #call(step) {
    const [service, method] = step.call.split('.');
    const client = this.#client(step, service);
    if (!step.requests) {
      return plain(await promisify(client[method]).call(client, step.request));
    }
    const stream = client[method]();
    step.requests.forEach((request) => stream.write(request));
    stream.end();
    const answers = [];
    for await (const answer of stream) {
      answers.push(plain(answer));
    }
    return answers.sort((one, other) => Number(one.sequence) - Number(other.sequence));
  }

  /** The entries that came: `take` of them, or all up to the head. */
  async #watch(step) {
    const cursor = new Cursor(join(this.#folder, step.cursor ?? randomUUID()));
    const meanwhile = step.meanwhile ? [step.meanwhile] : [];
    const caughtUp = async () => {
      while (meanwhile.length > 0) {
        await this.step(meanwhile.pop());
      }
    };
    const request = { ...step.watch, stop_at_head: step.take === undefined };
    const entries = [];
    for await (const entry of watch(this.#client(step, 'BookingService'), request, cursor, caughtUp)) {
      entries.push(plain(entry));
      if (entries.length === step.take) {
        break;
      }
    }
    return entries;
  }

  /** The items that came, of each of which was said what the script wants, and what the service heard too late. */
  async #consume(step) {
    const client = new Consumption(this.#client(step, 'ConsumerService'), step.consume);
    const items = [];
    try {
      for await (const item of client) {
        step.say[items.length].forEach((what) => say(client, what, item.id, items));
        items.push(plain(item));
        if (items.length === step.say.length) {
          break;
        }
      }
    } finally {
      await client.close();
    }
    return { items, lost: client.lost };
  }
}

function say(client, what, id, before) {
  const [[kind, said]] = Object.entries(what);
  if (kind === 'nack') {
    client.nack(id, said);
  } else if (kind === 'ack_before') {
    client.ack(before.at(-1).id);
  } else {
    client[kind](id);
  }
}

/** Who calls besides: one who may read alone, one without a token, one whose token nobody has. */
function others(folder) {
  const readerToken = flags['reader-token-file'];
  if (!readerToken) {
    return {};
  }
  const madeUp = join(folder, 'made-up.token');
  writeFileSync(madeUp, 'cbt_made_up_by_the_conformance_script');
  const tokens = { reader: readerToken, nobody: undefined, forger: madeUp };
  const to = { service: flags.service, 'service-ca': flags['service-ca'] };
  const connect = ([who, file]) => [who, new Connection({ ...to, 'service-token-file': file })];
  return Object.fromEntries(Object.entries(tokens).map(connect));
}

async function main() {
  const script = JSON.parse(readFileSync(flags.script, 'utf8'));
  const folder = mkdtempSync(join(tmpdir(), 'calbridge-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const connection = new Connection(flags);
  const api = flags.schema === 'proto' ? fromProtos(flags.protos) : await fromReflection(connection);
  const values = { ...script.values, run: randomUUID().slice(0, 8), tenant: flags.tenant };
  const run = new Run(api, { '': connection, ...others(folder) }, folder, values);
  let skipped = 0;
  for (const [index, step] of script.steps.entries()) {
    const number = String(index + 1).padStart(3);
    const fail = (why) => {
      console.log(`${number} FAILED: ${step.step}\n    ${why}`);
      process.exit(1);
    };
    if (!run.knows(step.as ?? '')) {
      skipped += 1;
      console.log(`${number} skipped, needs --reader-token-file: ${step.step}`);
      continue;
    }
    const patience = setTimeout(() => fail(`nothing came within ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
    try {
      await run.step(step);
    } catch (error) {
      fail(isRefusal(error) ? text(refusal(error)) : error instanceof Mismatch ? error.message : error.stack);
    }
    clearTimeout(patience);
    console.log(`${number} ok: ${step.step}`);
  }
  run.close();
  console.log(`${script.steps.length - skipped} steps ok, ${skipped} skipped`);
}

await main();
