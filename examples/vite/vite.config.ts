import { defineConfig, loadEnv } from 'vite'

// These settings alone get into the browser; the secret key isn't one of them.
const SETTINGS = ['SUPABASE_URL', 'SUPABASE_PUBLISHABLE_KEY', 'QUERY_URL']

export default defineConfig(({ mode }) => {
  const given = loadEnv(mode, import.meta.dirname, SETTINGS)
  const missing = SETTINGS.filter((name) => !given[name])
  if (missing.length) throw new Error(`Not set: ${missing.join(', ')}. Run eval "$(neural-search status --env)" first.`)
  return { envPrefix: SETTINGS }
})
