-- Levels of confidence are similarities, independent of other images: the former yardstick held every
-- bucket's images, so that one bucket moved another's levels. Rows in its units mean nothing any more.

do $$
begin
  if exists (
    select from pg_catalog.pg_attribute as a
    where a.attrelid = 'neural_search.calibrations'::regclass and a.attname = 'unit' and not a.attisdropped
  ) then
    delete from neural_search.calibrations;
    alter table neural_search.calibrations drop column unit;
  end if;
end
$$;
comment on table neural_search.calibrations is
  'The least similarity of each level of confidence, as `python -m evaluation.levels` measured it.';
comment on column neural_search.calibrations.model is 'Null: for models that weren''t measured.';
comment on column neural_search.calibrations.related is 'Reached by 5% of pairs of different images, or of a text and an image.';
comment on column neural_search.calibrations.strong is 'Less than 95% of copies reach: cropped to 75%, JPEG of quality 20, half the size.';
comment on column neural_search.calibrations.same is 'Reached by hardly another image. Null where a query can''t be the image itself.';

insert into neural_search.calibrations (model, query_kind, related, strong, same) values
  ('efficientnet-lite0', 'image', 0.44, 0.57, 0.975),
  ('efficientnet-lite0', 'text', 0.18, 0.29, null),
  ('efficientnet-lite0', 'mixed', 0.32, 0.47, null),
  ('efficientnet-lite0-concepts', 'image', 0.345, 0.53, 0.975),
  ('efficientnet-lite0-concepts', 'text', 0.184, 0.287, null),
  ('efficientnet-lite0-concepts', 'mixed', 0.3, 0.47, null),
  (null, 'image', 0.75, 0.85, 0.975)
on conflict (model, query_kind) do nothing;

drop function if exists neural_search.refresh_backgrounds();
drop function if exists neural_search.refresh_background(text);
drop table if exists neural_search.background_samples, neural_search.backgrounds;
