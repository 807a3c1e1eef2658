// An unmodified tus-js-client at the end of a pipe: one JSON request a line, one JSON answer a line.
// {"data": base64, "options": {...}, "stopAfter": bytes?} uploads, or breaks off once so many bytes are accepted.
import { createInterface } from 'node:readline'
import * as tus from 'tus-js-client'

function upload({ data, options, stopAfter }) {
  return new Promise((resolve) => {
    const answer = (rest) => resolve({ url: upload.url, ...rest })
    const upload = new tus.Upload(Buffer.from(data, 'base64'), {
      ...options,
      retryDelays: null,
      onSuccess: () => answer({ done: true }),
      onError: ({ originalResponse, message }) =>
        answer({ status: originalResponse?.getStatus() ?? null, error: originalResponse?.getBody() ?? message }),
      onChunkComplete: async (_, accepted) => {
        if (stopAfter !== undefined && accepted >= stopAfter) {
          await upload.abort()
          answer({ accepted })
        }
      },
    })
    upload.start()
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await upload(JSON.parse(line)))}\n`)
}
