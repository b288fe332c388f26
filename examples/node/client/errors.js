// What a service says when it refuses: match the reason, never the message.

import grpc from '@grpc/grpc-js';
import { own } from './schema.js';

const DOMAIN = 'calbridge';
const ERROR_INFO = 'type.googleapis.com/google.rpc.ErrorInfo';

const protos = own('status.proto');

/**
 * The code of gRPC by its name, and the `google.rpc.ErrorInfo` that calbridge puts beside it. `reason` is
 * BOOKING_NOT_FOUND, CURSOR_EXPIRED, …, and empty where it was not calbridge that answered; `metadata` is for
 * programs: `earliest_position`, `scope`, …
 */
export function refusal(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = bytes ? protos['google.rpc.Status'].deserialize(bytes).details : [];
  const infos = details.filter((detail) => detail.type_url === ERROR_INFO);
  const info = infos.map((detail) => protos['google.rpc.ErrorInfo'].deserialize(detail.value));
  const { reason, metadata } = info.find((one) => one.domain === DOMAIN) ?? { reason: '', metadata: {} };
  return { code: grpc.status[error.code], reason, metadata, message: error.details };
}

/** Whether it is a refusal at all, and not a mistake of this program. */
export const isRefusal = (error) => error instanceof Error && typeof error.code === 'number' && 'details' in error;

/** Whether the same call may succeed by and by. What it would have written was not committed. */
export function isPassing(error) {
  // RESOURCE_EXHAUSTED is also what gRPC says of a message that is too large, for ever.
  return isRefusal(error) && (error.code === grpc.status.UNAVAILABLE || refusal(error).reason === 'OVERLOADED');
}

export const text = ({ code, reason, message }) => `${code}${reason && `/${reason}`}: ${message}`;
