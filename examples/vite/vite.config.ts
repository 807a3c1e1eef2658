import { defineConfig } from 'vite'

// These settings alone get into the browser; the secret key isn't one of them.
export default defineConfig({ envPrefix: ['SUPABASE_URL', 'SUPABASE_PUBLISHABLE_KEY', 'QUERY_URL'] })
