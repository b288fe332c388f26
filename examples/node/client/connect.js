// Where the service is, what is shown to it, and how to make a client of it.
//
// A token never travels in the clear: beyond this machine it needs https.

import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';

// A page of bookings with long answers is larger than gRPC's own 4 MiB.
const MESSAGE_BYTES = 64 * 1024 * 1024;
// A service that has gone without a word is noticed after this and KEEPALIVE_ANSWER_MS, also by a silent stream.
const KEEPALIVE_MS = 20_000;
const KEEPALIVE_ANSWER_MS = 10_000;

const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

/** The flags of calbridge's own commands, for `parseArgs`, with the same meaning. */
export const FLAGS = {
  service: { type: 'string', default: process.env.CALBRIDGE_SERVICE ?? 'http://127.0.0.1:50051' },
  'service-ca': { type: 'string', default: process.env.CALBRIDGE_SERVICE_CA },
  'service-certificate': { type: 'string', default: process.env.CALBRIDGE_SERVICE_CERTIFICATE },
  'service-key': { type: 'string', default: process.env.CALBRIDGE_SERVICE_KEY },
  'service-token-file': { type: 'string', default: process.env.CALBRIDGE_SERVICE_TOKEN_FILE },
};

/** One connection. Nothing is sent before the first call, and it connects anew by itself. */
export class Connection {
  #address;
  #credentials;
  #options;

  constructor(flags) {
    const service = flags.service;
    const url = URL.canParse(service) ? new URL(service) : {};
    // A port that is its scheme's own, such as 443, is not shown by URL.
    const port = url.port || { 'http:': '80', 'https:': '443' }[url.protocol];
    if (!port) {
      throw new Error(`service ${service} must be http://HOST:PORT or https://HOST:PORT`);
    }
    const tokenFile = flags['service-token-file'];
    if (tokenFile && url.protocol === 'http:' && !LOOPBACK.includes(url.hostname)) {
      throw new Error(`service ${service}: a token needs https, or a service on this machine`);
    }
    const read = (name) => (flags[name] ? readFileSync(flags[name]) : null);
    this.#address = `${url.hostname}:${port}`;
    this.#credentials =
      url.protocol === 'https:'
        ? grpc.credentials.createSsl(read('service-ca'), read('service-key'), read('service-certificate'))
        : grpc.credentials.createInsecure();
    this.#options = {
      'grpc.max_receive_message_length': MESSAGE_BYTES,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS,
      interceptors: tokenFile ? [bearer(readFileSync(tokenFile, 'utf8').trim())] : [],
    };
  }

  /** A client of one service of the schema. Clients with the same address, credentials and options share a channel. */
  client(Service) {
    return new Service(this.#address, this.#credentials, this.#options);
  }
}

/** Shows the token with every call. gRPC's own call credentials refuse to do so without TLS, on loopback too. */
function bearer(token) {
  return (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set('authorization', `Bearer ${token}`);
        next(metadata, listener);
      },
    });
}
