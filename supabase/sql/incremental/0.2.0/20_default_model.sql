-- The default model of new projects. One that has a bucket, a document or another model keeps the model that it has, and
-- moves when its owner says so: `models add efficientnet-lite0-concepts`, then `models activate`.

do $$
begin
  if not exists (select from neural_search.documents) and not exists (select from neural_search.buckets)
    and not exists (select from neural_search.models as m where m.name <> 'efficientnet-lite0')
  then
    delete from neural_search.models as m where m.name = 'efficientnet-lite0';
    insert into neural_search.models (name, dimensions, state) values ('efficientnet-lite0-concepts', 1408, 'active');
  end if;
end
$$;

-- In every project, so that all have the same objects: empty at first, and filled by `models add` or by uploads.
create index if not exists documents_efficientnet_lite0_concepts_idx on neural_search.documents
  using hnsw ((embedding::extensions.halfvec(1408)) extensions.halfvec_cosine_ops)
  where model = 'efficientnet-lite0-concepts';
comment on index neural_search.documents_efficientnet_lite0_concepts_idx is 'For match_documents while this model is active.';
