-- Privileges: grants on everything of ours, which is closed first and then opened by a line.
-- Callers: the migrations; grants by the project's default privileges, Supabase's old ones too, are taken back.
-- Objects: all of ours. A new function in public goes into searches or work; one that callers execute into the last list.

-- anon and authenticated come into the schema only through functions of ours that run as the caller; of its tables they
-- may read two, under their policies.
revoke all on schema neural_search from public;
grant usage on schema neural_search to anon, authenticated, service_role;

revoke all on all tables in schema neural_search from public, anon, authenticated, service_role;
grant select on all tables in schema neural_search to service_role;
grant insert, update, delete on
  neural_search.blanks, neural_search.buckets, neural_search.calibrations, neural_search.jobs, neural_search.kicks,
  neural_search.lsh_planes, neural_search.models, neural_search.reconciliations, neural_search.text_search,
  neural_search.words
  to service_role;

grant select on neural_search.documents, neural_search.words to anon, authenticated; -- policies say which rows
grant insert, update, delete on neural_search.documents to service_role;
revoke all on all sequences in schema neural_search from public, anon, authenticated, service_role;
grant usage, select on sequence neural_search.documents_id_seq to service_role;
revoke all on public.documents from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.documents to service_role;

revoke execute on all functions in schema neural_search from public, anon, authenticated, service_role;
grant execute on all functions in schema neural_search to service_role;
do $$
declare
  searches constant text := 'public.active_model, public.match_documents, public.search_documents, '
    'public.recommend_documents, public.similar_documents, public.get_embeddings, public.object_states, '
    'public.list_fingerprints, public.confirm_duplicates';
  -- Workers and the command line.
  work constant text := 'public.claim_embedding_jobs, public.claim_object, public.finish_embedding_job, '
    'public.finish_embedding_jobs, public.reuse_embedding, public.fail_embedding_job, public.release_embedding_jobs, '
    'public.list_models, public.add_model, public.activate_model, public.remove_model, public.index_status, '
    'public.list_embedding_jobs, public.embedding_report, public.explain_object, public.index_bucket, '
    'public.unindex_bucket, public.backfill_documents, public.retry_embedding_jobs, public.reconcile_documents';
begin
  execute format('revoke execute on function %s, %s from public, anon, authenticated, service_role', searches, work);
  execute format('grant execute on function %s, %s to service_role', searches, work);
  execute format('grant execute on function %s to anon, authenticated', searches);
end
$$;
-- Only for their owner, its triggers and its schedules.
revoke execute on function
  neural_search.record_change, neural_search.is_move, neural_search.identity_of, neural_search.on_object_change,
  neural_search.tidy, neural_search.use_text_search, neural_search.write_words, neural_search.attach_words,
  neural_search.set_lsh, neural_search.enable, neural_search.schedule_jobs, neural_search.attach
  from service_role;
-- Searches execute these as their caller. PostgREST doesn't expose their schema.
grant execute on function
  neural_search.confidence_levels, neural_search.check_confidence, neural_search.level_of,
  neural_search.confidence_of, neural_search.live_objects, neural_search.check_failure, neural_search.note_failure,
  neural_search.log_failures, neural_search.policies_work, neural_search.declared_keys, neural_search.declarations,
  neural_search.declared_values, neural_search.declared_condition, neural_search.declared_conditions,
  neural_search.visible_objects, neural_search.filter_keys, neural_search.is_kind, neural_search.check_count,
  neural_search.is_public, neural_search.public_buckets, neural_search.can_see, neural_search.searchable_model,
  neural_search.check_query, neural_search.is_time, neural_search.check_filter, neural_search.check_page,
  neural_search.filter_conditions, neural_search.ids_with_metadata, neural_search.set_parameters,
  neural_search.search_statement, neural_search.scored_statement, neural_search.find_matches,
  neural_search.seen_among, neural_search.expected_rows, neural_search.expected_objects, neural_search.walked,
  neural_search.nearest, neural_search.find_public, neural_search.find_seen, neural_search.state_of,
  neural_search.read_search, neural_search.first_depth, neural_search.check_depth, neural_search.following,
  neural_search.find_page, neural_search.search_parameters, neural_search.search_settings,
  neural_search.find_similar, neural_search.described,
  neural_search.text_configuration, neural_search.composed, neural_search.lexemes, neural_search.rarest_first,
  neural_search.nearest_with_words, neural_search.last_one, neural_search.find_page_by_words,
  neural_search.lsh_length, neural_search.lsh_bits, neural_search.check_that, neural_search.check_range,
  neural_search.check_vector, neural_search.are_duplicates,
  neural_search.last_document_id, neural_search.check_example, neural_search.read_examples, neural_search.scaled,
  neural_search.weighted_mean, neural_search.average_vector, neural_search.stored_ids,
  neural_search.average_candidates, neural_search.squashed, neural_search.average_pool, neural_search.liked_kind,
  neural_search.reweighed, neural_search.is_confident, neural_search.compared, neural_search.best_score_pool,
  neural_search.best_score_candidates, neural_search.leaders, neural_search.diversified,
  neural_search.check_recommendation
  to anon, authenticated;
