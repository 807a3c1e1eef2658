#!/bin/sh
# Uploads an image, waits until it is searchable, and searches by it and by words: search.sh IMAGE WORDS
set -eu
image=$1 words=$2

ask() { # fails on an error status, and shows the problem details then
    curl --silent --show-error --fail-with-body --header "apikey: $SUPABASE_PUBLISHABLE_KEY" "$@"
}

# The query function stores the image as the caller. With wait=1 it answers 201 once the image is searchable;
# 202 with the reason if it never will be, or isn't after 30 seconds.
answer=$(ask "$QUERY_URL/embeddings?wait=1" --form image=@- --form bucket=images --form upsert=true \
    --form-string "name=examples/$(basename "$image")" --write-out ' %{http_code}' <"$image") || true
case $answer in *' 201') ;; *) printf '%s\n' "$answer" >&2; exit 1 ;; esac

printf 'Like %s:\n' "$(basename "$image")"
ask "$QUERY_URL" --form image=@- --form limit=5 <"$image"

printf '\n%s:\n' "$words"
ask "$QUERY_URL" --form-string "text=$words" --form limit=5

printf '\nLike either, without the image itself:\n'
ask "$QUERY_URL" --form-string "like=images/examples/$(basename "$image")" --form-string "text=$words" \
    --form mime_type=image/jpeg --form mime_type=image/png --form strategy=best_score --form diversity=0.2 --form limit=5
echo
