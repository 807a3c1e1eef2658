import { createClient } from '@supabase/supabase-js'
import { createClient as createImageSearch } from 'neural-search-client'

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, QUERY_URL } = import.meta.env

export const supabase = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY)

/** Searches as the signed-in user: policies on storage.objects decide on the results. */
export const images = createImageSearch(QUERY_URL, {
  key: SUPABASE_PUBLISHABLE_KEY,
  accessToken: async () => (await supabase.auth.getSession()).data.session?.access_token,
})
