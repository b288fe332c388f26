// Free JSON, such as a booking's `responses`, as it comes in a `google.protobuf.Struct`.

export function fromStruct(struct) {
  return Object.fromEntries(Object.entries(struct.fields).map(([name, value]) => [name, fromValue(value)]));
}

function fromValue(value) {
  switch (value.kind) {
    case 'nullValue':
      return null;
    case 'structValue':
      return fromStruct(value.structValue);
    case 'listValue':
      return value.listValue.values.map(fromValue);
    default:
      return value[value.kind];
  }
}
