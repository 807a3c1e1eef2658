-- As in supabase.rpc(): whoever asks finds what their policies on storage.objects show.
select content as name, similarity
from public.similar_documents('monuments/neuschwanstein_castle.jpg', bucket => 'images', match_count => 6);
