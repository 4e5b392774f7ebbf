// A traitlet of bytes as it comes: from a kernel a DataView, from a page what its base64 became.

export const bytes = (value) => (value?.byteLength ? new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength) : new Uint8Array());
