// The schema at run time: the services of `calbridge.v1` as classes of clients. Two ways, neither of which needs a
// build: the .proto files, and asking the service itself.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import 'protobufjs/ext/descriptor/index.js';

const PACKAGE = 'calbridge.v1';
const SERVICES = ['IngestService', 'BookingService', 'ConsumerService', 'DeliveryService'];

/** Names as in the schema, enums by name, 64-bit integers as texts, and under a oneof's name which of it is set. */
export const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };

/** A .proto file of this example. */
export function own(name) {
  return protoLoader.loadSync(fileURLToPath(new URL(`../protos/${name}`, import.meta.url)), OPTIONS);
}

export function fromProtos(folder) {
  const place = join(folder, ...PACKAGE.split('.'));
  const files = existsSync(place) ? readdirSync(place).filter((name) => name.endsWith('.proto')) : [];
  if (files.length === 0) {
    throw new Error(`${folder} holds no calbridge/v1/*.proto: give the folder proto of calbridge`);
  }
  const paths = files.map((name) => join(place, name));
  return services(protoLoader.loadSync(paths, { ...OPTIONS, includeDirs: [folder] }));
}

/** No file is needed, and none can be out of date. */
export async function fromReflection(connection) {
  const protos = own('reflection.proto');
  const { ServerReflection } = grpc.loadPackageDefinition(protos).grpc.reflection.v1;
  const file = protos['grpc.reflection.v1.File'];
  const files = new Map();
  const client = connection.client(ServerReflection);
  const call = client.ServerReflectionInfo();
  // Every file once: those of the services, then what those that came import.
  const asked = new Set();
  let unanswered = 0;
  const ask = (request) => {
    const [name] = Object.values(request);
    if (!asked.has(name)) {
      asked.add(name);
      unanswered += 1;
      call.write(request);
    }
  };
  try {
    SERVICES.forEach((name) => ask({ file_containing_symbol: `${PACKAGE}.${name}` }));
    for await (const answer of call) {
      if (answer.message_response === 'error_response') {
        throw new Error(`the service does not tell its schema: ${answer.error_response.error_message}`);
      }
      for (const bytes of answer.file_descriptor_response.file_descriptor_proto) {
        const { name, dependency } = file.deserialize(bytes);
        files.set(name, bytes);
        dependency.forEach((imported) => ask({ file_by_filename: imported }));
      }
      unanswered -= 1;
      if (unanswered === 0) {
        call.end();
      }
    }
  } finally {
    call.cancel();
    client.close();
  }
  const set = protos['grpc.reflection.v1.FileSet'].serialize({ file: [...files.values()] });
  const root = new protobuf.Root();
  // Google's own types are those of protobufjs, or they would look otherwise than where .proto files are read.
  const google = [...files.keys()].map((name) => protobuf.common.get(name)).filter((json) => json !== null);
  google.forEach((json) => root.addJSON(json.nested));
  root.addJSON({ calbridge: withMaps(protobuf.Root.fromDescriptor(set).toJSON().nested.calbridge) });
  return services(protoLoader.fromJSON(root.toJSON(), OPTIONS));
}

/**
 * In a descriptor a map is a repeated message of keys and values, and protobufjs leaves it so. Here it becomes a map,
 * as it is where .proto files are read.
 */
function withMaps(type) {
  const [entries, kept] = partition(Object.entries(type.nested ?? {}), ([, inner]) => isEntry(inner));
  const byName = new Map(entries);
  const field = (declared) => {
    const entry = declared.rule === 'repeated' && byName.get(declared.type.split('.').at(-1));
    return entry ? { id: declared.id, keyType: entry.fields.key.type, type: entry.fields.value.type } : declared;
  };
  return {
    ...type,
    ...(type.fields && { fields: mapped(Object.entries(type.fields), field) }),
    ...(type.nested && { nested: mapped(kept, withMaps) }),
  };
}

/** protobufjs marks also the message around it. */
const isEntry = ({ options, fields = {} }) => options?.map_entry && Object.keys(fields).join() === 'key,value';

const partition = (all, belongs) => [all.filter(belongs), all.filter((one) => !belongs(one))];

const mapped = (pairs, change) => Object.fromEntries(pairs.map(([name, value]) => [name, change(value)]));

function services(definition) {
  const loaded = grpc.loadPackageDefinition(definition).calbridge.v1;
  return Object.fromEntries(SERVICES.map((name) => [name, loaded[name]]));
}
