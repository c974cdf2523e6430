// Reads .npy files of 32-bit floats, as numpy writes them.

export function readNpy(buffer) {
  const view = new DataView(buffer);
  const wide = view.getUint8(6) > 1; // version 2 has a longer field for the header's length
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  if (!/'descr':\s*'<f4'/.test(header) || /'fortran_order':\s*True/.test(header)) throw new Error("The file is no array of 32-bit floats.");
  const shape = header.match(/'shape':\s*\(([^)]*)\)/)[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  return { shape, values: new Float32Array(buffer.slice(start + length)) };
}
