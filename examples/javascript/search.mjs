// Uploads an image, waits until it is searchable, searches by it and by words: node search.mjs IMAGE WORDS
import { readFile } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY: apikey, QUERY_URL } = process.env
const [path, words] = process.argv.slice(2)
const bucket = 'images', patience = 60 // seconds
const name = `examples/${basename(path)}`
const supabase = createClient(SUPABASE_URL, apikey)

async function waitUntilSearchable() {
  for (const deadline = Date.now() + patience * 1000; Date.now() < deadline; await sleep(500)) {
    const { data: [row] } = await supabase.rpc('object_states', { bucket, names: [name] }).throwOnError()
    if (row.state === 'searchable') return
    // Any other state but pending is final: no image, or a bucket that is not indexed.
    if (row.state !== 'pending') throw new Error(`${name} is ${row.state}: ${row.reason}`)
  }
  throw new Error(`${name} isn't searchable after ${patience} s. \`neural-search jobs\` says why.`)
}

async function search(title, body, headers = {}) {
  const answer = await fetch(QUERY_URL, { method: 'POST', headers: { apikey, ...headers }, body })
  if (!answer.ok) throw new Error(await answer.text()) // problem details, with the remedy
  console.log(title)
  for (const found of (await answer.json()).results)
    console.log(`${found.similarity.toFixed(3)}  ${found.bucket}/${found.name}`)
}

const image = await readFile(path)
const contentType = `image/${extname(path).slice(1).toLowerCase().replace('jpg', 'jpeg')}`
const { error } = await supabase.storage.from(bucket).upload(name, image, { contentType, upsert: true })
if (error) throw error
await waitUntilSearchable()
const form = new FormData()
form.set('image', new Blob([image]))
form.set('limit', '5')
await search(`Like ${basename(path)}:`, form)
const searchJson = (title, body) => search(title, JSON.stringify(body), { 'Content-Type': 'application/json' })
await searchJson(`${words}:`, { text: words, limit: 5 })
await searchJson('Like either, without the image itself:', {
  like: [{ name: `${bucket}/${name}` }, { text: words, weight: 0.5 }],
  filter: { bucket, mime_type: ['image/jpeg', 'image/png', 'image/webp'] },
  strategy: 'best_score',
  diversity: 0.2,
  collapse: 'duplicates',
  limit: 5,
})
