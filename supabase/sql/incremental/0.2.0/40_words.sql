-- The words of documents: the names and the metadata of images.
create table if not exists neural_search.words (
  lexeme text not null,
  document_id bigint not null references neural_search.documents (id) on delete cascade,
  source smallint not null check (source between 1 and 3),
  primary key (lexeme, document_id)
);
comment on table neural_search.words is
  'The lexemes of each document''s path and metadata. Row level security lets no operator of text search use an index '
  'for callers under policies; equality of text may.';
comment on column neural_search.words.lexeme is 'As the configuration in neural_search.text_search makes it.';
comment on column neural_search.words.document_id is 'neural_search.documents.id.';
comment on column neural_search.words.source is 'Where it is from: 1 the path, 2 the metadata, 3 both.';

create index if not exists words_document_id_idx on neural_search.words (document_id);
comment on index neural_search.words_document_id_idx is 'For the words that go or change with a document.';

alter table neural_search.words enable row level security;

create table if not exists neural_search.text_search (
  id boolean primary key default true check (id),
  configuration text not null
);
comment on table neural_search.text_search is 'How lexemes are made of words: one row.';
comment on column neural_search.text_search.id is 'Always true.';
comment on column neural_search.text_search.configuration is
  'A text search configuration of Postgres, by name: a regconfig would be in the way of pg_upgrade.';
alter table neural_search.text_search add column if not exists missing int8range not null default 'empty';
comment on column neural_search.text_search.missing is
  'The ids between which documents are that were there before words, and may have none yet.';
insert into neural_search.text_search (configuration) values ('pg_catalog.simple') on conflict do nothing;

alter table neural_search.text_search enable row level security;

do $$
declare
  added text;
begin
  if not exists (select from pg_policy as p where p.polrelid = 'neural_search.words'::regclass) then
    create policy "As the policy on documents says" on neural_search.words
      for select to anon, authenticated using (false);
  end if;

  for added in
    select format('alter type neural_search.%s add attribute %I %s', n.type, n.attribute, n.kind)
    from (
      values ('match', 'score', 'double precision'), ('match', 'source', 'smallint'),
        ('search', 'same', 'double precision'), ('search', 'strong', 'double precision'),
        ('search', 'related', 'double precision'), ('search', 'threshold', 'double precision'),
        ('search', 'weight', 'double precision'), ('search', 'lexemes', 'text[]'), ('search', 'read_lexemes', 'text[]'),
        ('search', 'declared', 'boolean')
    ) as n (type, attribute, kind)
    where not exists (
      select from pg_attribute as a
      where a.attrelid = format('neural_search.%s', n.type)::regclass and a.attname = n.attribute
    )
  loop
    execute added;
  end loop;
end
$$;
comment on type neural_search.match is
  'A document that a search came across; its score, and where it has words of the query (words.source).';

-- Other arguments.
drop function if exists neural_search.check_page(jsonb, text);
drop function if exists neural_search.expected_rows(neural_search.search);
drop function if exists neural_search.find_page(neural_search.search, integer, integer, jsonb, text);
drop function if exists neural_search.find_page(neural_search.search, integer, integer, jsonb);
drop function if exists neural_search.find_page_by_words(neural_search.search, integer, jsonb);
drop function if exists neural_search.last_one(neural_search.search, neural_search.match[], integer);
