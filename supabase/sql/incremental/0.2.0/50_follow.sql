-- Versions of an object may share an id, so what is live is asked of rows and no longer of ids. The sources make the views anew.
drop view if exists neural_search.failures, neural_search.backlog, neural_search.progress;
drop function if exists neural_search.dead_objects();
