-- Confidence: how much a similarity means, by what similarities are usual in this collection.
-- Callers: match_documents and recommend_documents, as the caller; the schedule.
-- Objects: calibrations, backgrounds, background_samples, refresh_background, refresh_backgrounds, confidence_levels.

create table neural_search.calibrations (
  model text,
  query_kind text not null check (query_kind in ('image', 'text', 'mixed')),
  same double precision not null,
  strong double precision not null,
  related double precision not null check (related <= strong),
  unique nulls not distinct (model, query_kind)
);
comment on table neural_search.calibrations is
  'From where on a result has a level of confidence. Measured with `python -m evaluation.confidence`.';
comment on column neural_search.calibrations.model is 'Null: for models that weren''t measured.';
comment on column neural_search.calibrations.query_kind is 'What was asked with: an image, a text, or both.';
comment on column neural_search.calibrations.same is
  'How far from the query''s usual similarity to 1; infinite where a query can''t be the image itself.';
comment on column neural_search.calibrations.strong is 'Standard deviations above the query''s usual similarity.';
comment on column neural_search.calibrations.related is 'Likewise; searches over HTTP leave out what lies below.';

alter table neural_search.calibrations enable row level security;
grant select, insert, update, delete on neural_search.calibrations to service_role;

insert into neural_search.calibrations (model, query_kind, same, strong, related) values
  ('efficientnet-lite0', 'image', 0.9, 4, 3),
  ('efficientnet-lite0', 'text', 'Infinity', 4, 3),
  ('efficientnet-lite0', 'mixed', 'Infinity', 4, 3),
  (null, 'image', 0.9, 4, 3),
  (null, 'text', 'Infinity', 4, 3),
  (null, 'mixed', 'Infinity', 4, 3);


create table neural_search.backgrounds (
  model text primary key references neural_search.models (name) on delete cascade,
  seen_document_id bigint not null,
  pair_mean double precision not null,
  pair_deviation double precision not null,
  refreshed_at timestamptz not null default now()
);
comment on table neural_search.backgrounds is 'What is usual among each model''s indexed images.';
comment on column neural_search.backgrounds.model is 'Whose embeddings these are.';
comment on column neural_search.backgrounds.seen_document_id is 'The last document that there was at that time.';
comment on column neural_search.backgrounds.pair_mean is 'Of the similarities of random pairs of indexed images.';
comment on column neural_search.backgrounds.pair_deviation is 'The standard deviation of those.';
comment on column neural_search.backgrounds.refreshed_at is 'When the sample was drawn.';

alter table neural_search.backgrounds enable row level security;
grant select, insert, update, delete on neural_search.backgrounds to service_role;


create table neural_search.background_samples (
  model text not null references neural_search.models (name) on delete cascade,
  document_id bigint not null,
  embedding extensions.halfvec not null,
  primary key (model, document_id)
)
-- Rows of up to a page: each search reads them all, and to fetch them from beside the table would take most of the time.
with (toast_tuple_target = 8160);
comment on table neural_search.background_samples is
  'Random documents that queries are compared with. Callers are told what is usual among them, never of a single one.';
comment on column neural_search.background_samples.model is 'The model that made the embedding.';
comment on column neural_search.background_samples.document_id is
  'No foreign key, which would make uploaders wait: those that are gone are dropped by the next refresh.';
comment on column neural_search.background_samples.embedding is 'As it was then, of half precision.';

alter table neural_search.background_samples enable row level security;
grant select, insert, update, delete on neural_search.background_samples to service_role;


-- Reads at most some 2,000 pages of the table, however large it is.
create or replace function neural_search.refresh_background(target_model text) returns boolean
language plpgsql set search_path = '' as $$
declare
  sampled constant integer := 256;
  fewest constant integer := 32;
  last_document constant bigint := (select max(d.id) from public.documents as d);
  share constant double precision := least(100, 100.0 * 2000 * current_setting('block_size')::integer
    / greatest(pg_catalog.pg_relation_size('public.documents'), 1));
begin
  delete from neural_search.background_samples as s where s.model = target_model;
  insert into neural_search.background_samples (model, document_id, embedding)
  select d.model, d.id, d.embedding::extensions.halfvec
  from (
    select few.id from public.documents as few tablesample system (share)
    where few.model = target_model order by random() limit sampled
  ) as drawn
  join public.documents as d on d.id = drawn.id;

  delete from neural_search.backgrounds as b where b.model = target_model;
  insert into neural_search.backgrounds (model, seen_document_id, pair_mean, pair_deviation)
  select target_model, last_document, avg(pair.similarity), stddev_samp(pair.similarity)
  from (
    select 1 - (a.embedding operator(extensions.<=>) b.embedding) as similarity
    from neural_search.background_samples as a
    join neural_search.background_samples as b on b.model = a.model and b.document_id > a.document_id
    where a.model = target_model
  ) as pair
  having count(*) >= fewest * (fewest - 1) / 2;
  return found;
end
$$;
comment on function neural_search.refresh_background is
  'Draws a model''s sample anew; whether there are documents enough for a background.';
revoke execute on function neural_search.refresh_background from public, anon, authenticated, service_role;
grant execute on function neural_search.refresh_background to service_role;


-- Definer, because callers may not read the sample, which holds others' images. What it tells are a median and a
-- spread of at least 32 images, rounded: of a single one nothing.
create or replace function neural_search.confidence_levels(
  model text, query_kind text, query extensions.vector
) returns table (same double precision, strong double precision, related double precision)
language sql stable security definer set search_path = '' as $$
  with usual as (
    select avg(s.similarity) as mean, stddev_samp(s.similarity) as deviation
    from (
      select 1 - (s.embedding operator(extensions.<=>) query::extensions.halfvec) as similarity
      from neural_search.background_samples as s where s.model = confidence_levels.model
    ) as s
  )
  select usual.mean + c.same * (1 - usual.mean), usual.mean + c.strong * usual.deviation,
    usual.mean + c.related * usual.deviation
  from usual
  join lateral (
    select c.* from neural_search.calibrations as c
    where c.query_kind = confidence_levels.query_kind and (c.model = confidence_levels.model or c.model is null)
    order by c.model nulls last limit 1
  ) as c on true
  where exists (select from neural_search.backgrounds as b where b.model = confidence_levels.model)
$$;
comment on function neural_search.confidence_levels is
  'The least similarity that a result of this query needs for each level of confidence; no row while the model has no '
  'background.';
revoke execute on function neural_search.confidence_levels from public, anon, authenticated, service_role;
grant execute on function neural_search.confidence_levels to anon, authenticated, service_role;
