-- Levels of confidence that need no background: similarities as they are, for models that were measured.

alter table neural_search.calibrations drop constraint if exists calibrations_unit_check;
alter table neural_search.calibrations add constraint calibrations_unit_check
  check (unit in ('similarity', 'pair_high', 'pair_deviation', 'quartile_distance', 'room', 'one'));
comment on column neural_search.calibrations.unit is
  'Of related and strong. similarity: the levels are similarities, whatever is usual; pair_high: the 95th percentile of the '
  'similarities of pairs of images; pair_deviation: their standard deviation; quartile_distance: between the first and the '
  'third quartile of this query''s similarities; room: from the first quartile to 1; one: as they are.';

insert into neural_search.calibrations (model, query_kind, unit, related, strong, same) values
  ('efficientnet-lite0-concepts', 'image', 'similarity', 0.345, 0.53, 0.975),
  ('efficientnet-lite0-concepts', 'text', 'similarity', 0.184, 0.287, null),
  ('efficientnet-lite0-concepts', 'mixed', 'similarity', 0.3, 0.47, null)
on conflict (model, query_kind) do nothing;
