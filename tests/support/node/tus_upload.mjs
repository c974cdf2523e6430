// Uploads a file with tus-js-client, in two steps: node tus_upload.mjs ENDPOINT FILE CHUNK_BYTES.
// The first upload is aborted after a chunk; the second one resumes it. Prints the upload's URL.

import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { Upload } from "tus-js-client";

const [endpoint, file, chunkBytes] = process.argv.slice(2);
const common = {
  endpoint,
  chunkSize: Number(chunkBytes),
  metadata: { filename: basename(file) },
  retryDelays: null,
  onError: (error) => { console.error(String(error)); process.exit(1); },
};
const first = new Upload(createReadStream(file), {
  ...common,
  onChunkComplete: async () => {
    await first.abort();
    const second = new Upload(createReadStream(file), {
      ...common,
      uploadUrl: first.url,
      onSuccess: () => console.log(second.url),
    });
    second.start();
  },
});
first.start();
