curl "$QUERY_URL" --header "apikey: $SUPABASE_PUBLISHABLE_KEY" \
  --json '{"like": "images/monuments/neuschwanstein_castle.jpg", "limit": 6}'
curl "$QUERY_URL?limit=6" --header "apikey: $SUPABASE_PUBLISHABLE_KEY" \
  --header "Content-Type: image/jpeg" --data-binary @examples/images/monuments/neuschwanstein_castle.jpg
