-- Functions whose arguments changed, as policies are asked in one statement where they were asked about one after another.
drop function if exists neural_search.visible_ids(neural_search.search);
drop function if exists neural_search.find_seen(text, text);
drop function if exists neural_search.find_public(text, text);
