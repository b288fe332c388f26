// The shared script as Node sees it: its values, and how an answer is compared with what must come.
//
// `../conformance.json` is the script and `../README.md` its grammar; `../python/script.py` is this file's twin.

import { fromStruct } from './client/struct.js';

// A booking is long, and its beginning says enough.
const SHOWN = 500;

const VALUE = /\$\{([a-z_0-9]+)\}/g;
const WHOLE_VALUE = /^\$\{([a-z_0-9]+)\}$/;

/** What came is not what must come. */
export class Mismatch extends Error {}

/**
 * `${name}` is a value: any one where it is the whole text, a text within a longer one. `{"$body": …}` is the bytes
 * of what it holds, as compact JSON; `{"$text": …}` is a text where any JSON may stand.
 */
export function filled(text, values) {
  if (Array.isArray(text)) {
    return text.map((part) => filled(part, values));
  }
  if (isObject(text)) {
    const whole = Object.fromEntries(Object.entries(text).map(([name, part]) => [name, filled(part, values)]));
    if ('$text' in whole) {
      return { stringValue: whole.$text };
    }
    return '$body' in whole ? Buffer.from(JSON.stringify(whole.$body)) : whole;
  }
  if (typeof text !== 'string') {
    return text;
  }
  const whole = WHOLE_VALUE.exec(text);
  return whole ? filled(values[whole[1]], values) : text.replace(VALUE, (found) => filled(found, values));
}

/** A message as the script writes it: what proto-loader makes of it, with free JSON as itself. */
export function plain(message) {
  if (Array.isArray(message)) {
    return message.map(plain);
  }
  if (!isObject(message)) {
    return message;
  }
  // No other message has this field alone.
  if (Object.keys(message).join() === 'fields') {
    return fromStruct(message);
  }
  return Object.fromEntries(Object.entries(message).map(([name, part]) => [name, plain(part)]));
}

/** `bookings.0.uid`. */
export const at = (message, path) => path.split('.').reduce((part, name) => part[name], message);

/** Every field that is expected is there; others may be. "*" is anything that is not empty, null what is not set. */
export function mustHold(expected, seen, path = '') {
  const inside = (name) => (path ? `${path}.${name}` : name);
  if (expected === '*' && !isEmpty(seen)) {
    return;
  }
  if (Buffer.isBuffer(expected) && Buffer.isBuffer(seen) && expected.equals(seen)) {
    return;
  }
  if (isObject(expected) && isObject(seen)) {
    Object.entries(expected).forEach(([name, part]) => mustHold(part, seen[name], inside(name)));
  } else if (Array.isArray(expected) && Array.isArray(seen)) {
    if (expected.length !== seen.length) {
      const what = `expected ${expected.length} of them, seen ${seen.length}: ${shown(seen)}`;
      throw new Mismatch(`${path || 'the answer'}: ${what}`);
    }
    expected.forEach((part, index) => mustHold(part, seen[index], inside(String(index))));
  } else if (expected !== (seen ?? null)) {
    throw new Mismatch(`${path || 'the answer'}: expected ${shown(expected)}, seen ${shown(seen ?? null)}`);
  }
}

const shown = (side) => JSON.stringify(side).slice(0, SHOWN);

const isObject = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);

function isEmpty(value) {
  return !value || value.length === 0 || (isObject(value) && Object.keys(value).length === 0);
}
