import { createClient } from 'neural-search-client'

const { QUERY_URL, SUPABASE_PUBLISHABLE_KEY } = process.env // import.meta.env in Vite
const images = createClient(QUERY_URL, { key: SUPABASE_PUBLISHABLE_KEY })

const { results } = await images.search({ text: 'a castle', limit: 6 })
const similar = await images.similar(results[0], { limit: 6 })
for (const image of similar.results) console.log(image.similarity.toFixed(3), image.name, image.url)
