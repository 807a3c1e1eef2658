// An unmodified supabase-js at the end of a pipe: one JSON request a line, one JSON answer a line.
// {"on": ["storage", "images"] | ["rpc"] | ["functions"] | ["auth"], "call": name, "args": [...]}; bytes are {"base64": ...}, which may be
// `as` a File, Blob or ArrayBuffer.
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'

const [url, key] = process.argv.slice(2)
const supabase = createClient(url, key, {
  auth: { persistSession: false },
  realtime: { transport: globalThis.WebSocket ?? class {} }, // Node 20 has none, and the client insists
})

function target([part, bucket]) {
  return { storage: () => supabase.storage.from(bucket), rpc: () => supabase, functions: () => supabase.functions, auth: () => supabase.auth }[part]()
}

function revive(value) {
  if (value?.body?.base64 !== undefined) return { ...value, body: revive(value.body) }
  if (value?.base64 === undefined) return value
  const bytes = Buffer.from(value.base64, 'base64')
  const kinds = {
    File: () => new File([bytes], 'a.png', { type: 'image/png' }),
    Blob: () => new Blob([bytes]),
    ArrayBuffer: () => new Uint8Array(bytes).buffer,
  }
  return value.as ? kinds[value.as]() : bytes
}

async function plain({ data, error }) {
  const bytes = data instanceof Blob ? { base64: Buffer.from(await data.arrayBuffer()).toString('base64') } : data
  return { data: bytes, error: error && { message: error.message, status: error.status, statusCode: error.statusCode } }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { on, call, args } = JSON.parse(line)
  const answer = await plain(await target(on)[call](...args.map(revive)))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
