// Reads .npy files of 32-bit floats.

export function readNpy(buffer) {
  const view = new DataView(buffer);
  const isVersion2 = view.getUint8(6) > 1; // its header length has four bytes
  const start = isVersion2 ? 12 : 10;
  const length = isVersion2 ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  if (!/'descr':\s*'<f4'/.test(header) || /'fortran_order':\s*True/.test(header)) throw new Error("The file is not an array of 32-bit floats.");
  const shape = header.match(/'shape':\s*\(([^)]*)\)/)[1].split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  return { shape, values: new Float32Array(buffer.slice(start + length)) };
}
