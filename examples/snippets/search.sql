-- As in supabase.rpc(): whoever asks finds what their policies on storage.objects show.
select found.content as name, found.similarity
from public.get_embeddings(names => array['monuments/neuschwanstein_castle.jpg'], bucket => 'images') as given
cross join lateral public.match_documents(given.embedding, match_count => 6) as found
where found.id <> given.id
order by found.similarity desc;
