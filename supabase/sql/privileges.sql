-- Privileges: grants on everything of ours, which is closed first and then opened by a line.
-- Callers: the migrations; grants by the project's default privileges, Supabase's old ones too, are taken back.
-- Objects: all of ours. A new function in public goes into searches or work; one that callers execute into parts.

-- anon and authenticated come into the schema only through functions of ours that run as the caller; of its tables they
-- may read two, under their policies. An operator who has shut one of them out, by a revoke on active_model, has done so
-- for good.
revoke all on schema neural_search from public, anon, authenticated, service_role;
grant usage on schema neural_search to anon, authenticated, service_role;

revoke all on all tables in schema neural_search from public, anon, authenticated, service_role;
grant select on all tables in schema neural_search to service_role;
grant insert, update, delete on
  neural_search.blanks, neural_search.buckets, neural_search.calibrations, neural_search.jobs, neural_search.kicks,
  neural_search.lsh_planes, neural_search.models, neural_search.reconciliations, neural_search.text_search,
  neural_search.words
  to service_role;

grant insert, update, delete on neural_search.documents to service_role;
revoke all on all sequences in schema neural_search from public, anon, authenticated, service_role;
grant usage, select on sequence neural_search.documents_id_seq to service_role;
revoke all on public.documents from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.documents to service_role;

revoke execute on all functions in schema neural_search from public, anon, authenticated, service_role;
grant execute on all functions in schema neural_search to service_role;
do $$
declare
  searches text := '
    active_model, match_documents, search_documents, recommend_documents, similar_documents, get_embeddings,
    object_states, list_fingerprints, confirm_duplicates';
  -- Workers and the command line.
  work text := '
    claim_embedding_jobs, claim_object, finish_embedding_job, finish_embedding_jobs, reuse_embedding,
    fail_embedding_job, release_embedding_jobs, list_models, add_model, activate_model, remove_model, index_status,
    list_embedding_jobs, embedding_report, explain_object, index_bucket, unindex_bucket, backfill_documents,
    retry_embedding_jobs, reconcile_documents';
  -- Searches execute these as their caller. PostgREST doesn't expose their schema.
  parts constant text := '
    confidence_levels, check_confidence, level_of, confidence_of, live_objects, is_outage, check_failure, end_search,
    note_failure, log_failures, policies_work, ask, ask_documents, ask_objects, seen_documents, found_documents, is_shown,
    objects_between,
    declared_keys, declarations, declared_values, declared_condition, declared_conditions, visible_objects,
    filter_keys, is_kind, check_count, check_names, is_public, public_buckets, can_see,
    searchable_model, index_name, is_time, check_filter, check_page, filter_conditions, ids_with_metadata, set_parameters,
    storage_parameters, storage_settings, act_as_storage,
    set_for_search, search_statement, scored_statement, find_matches, seen_among, expected_rows, expected_matches,
    expected_objects, are_few, narrows_to_few, walked, exact_way, visible_vectors, nearest, find_public, find_seen, state_of,
    read_search, following,
    find_page, find_similar, text_configuration, composed, lexemes, rarest_first, nearest_with_words, last_one,
    lsh_length, lsh_bits, check_that, check_range, check_vector, check_sizes, zeros_are_short, has_common_numbers, check_json,
    are_duplicates, last_document_id, check_keys, check_example, read_vector,
    check_list, read_examples, scaled, weighted_mean, average_vector, stored_ids, average_pool, liked_kind,
    is_confident, find_by_average, search_directions, list_around, best_scored, listed_ids, best_by_lists,
    most_listed, find_by_best_score, leaders, diversified, arranged,
    check_recommendation';
  -- Only for their owner, its triggers and its schedules.
  own constant text := '
    record_change, is_move, on_object_change, tidy, use_text_search, set_lsh, enable, schedule_jobs,
    attach';
  callers constant text := (
    select string_agg(role, ', ') from unnest(array['anon', 'authenticated']) as role
    where has_function_privilege(role, 'public.active_model()', 'execute')
  );
  pinned text;
begin
  searches = regexp_replace(searches, '\w+', 'public.\&', 'g');
  work = regexp_replace(work, '\w+', 'public.\&', 'g');
  execute format('revoke execute on function %s, %s from public, anon, authenticated, service_role', searches, work);
  execute format('grant execute on function %s, %s to service_role', searches, work);
  if callers is not null then
    execute format('grant execute on function %s, %s to %s', searches,
      regexp_replace(parts, '\w+', 'neural_search.\&', 'g'), callers);
    execute format('grant select on neural_search.documents, neural_search.words to %s', callers); -- policies say which rows
  end if;
  execute format('revoke execute on function %s from service_role',
    regexp_replace(own, '\w+', 'neural_search.\&', 'g'));

  -- A session's temporary schema is searched for types before all others, unless a path names it: a caller who made a
  -- domain `text` there would have its checks run by functions of ours that run as their owner. So each path ends with it.
  for pinned in
    select format(
      'alter function %s set search_path = %s', p.oid::regprocedure,
      concat_ws(', ', nullif(substr(s.setting, length('search_path=') + 1), '""'), 'pg_temp')
    )
    from pg_catalog.pg_proc as p cross join lateral unnest(p.proconfig) as s (setting)
    where s.setting like 'search_path=%' and s.setting not like '%pg_temp' and (
      p.pronamespace = 'neural_search'::regnamespace
      or p.oid = any (regexp_split_to_array(trim(E' \n' from searches || ', ' || work), '\s*,\s*')::regproc[])
    )
  loop
    execute pinned;
  end loop;
end
$$;
