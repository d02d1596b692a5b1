import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestProject, testProject } from '../test-project.ts'

const SCHEMA = `
create type public.mood as enum ('calm', 'busy');
create table public.authors (
  id int primary key,
  name text not null unique,
  mood public.mood not null default 'calm',
  config jsonb not null default '{}',
  tags text[] not null default '{}',
  score numeric(10,4) not null default 0,
  big bigint,
  born timestamptz
);
create table public.books (
  id int primary key,
  author_id int not null references public.authors,
  editor_id int constraint books_editor_fkey references public.authors,
  title text not null
);
create table public.pages (id int primary key, book_id int not null references public.books, body text);
create table public.passports (author_id int primary key references public.authors, code text);
create table public.labels (id int primary key, name text);
create table public.book_labels (
  book_id int references public.books, label_id int references public.labels, primary key (book_id, label_id)
);
create table public.defaults (
  id uuid primary key default gen_random_uuid(), n int default 7, label text, at timestamptz not null default now()
);
insert into public.authors (id, name, mood, config, tags, score, big, born) values
  (1, 'Ada', 'calm', '{"a":{"b":[10,20]},"s":"x"}', '{math,code}', 1.2500, 9007199254740993, '2020-01-02T03:04:05Z'),
  (2, 'Bob', 'busy', '{"s":"y"}', '{code}', 2, null, null),
  (3, 'Cy, "the" (odd) one', 'calm', '{}', '{}', 0, 3, '2021-01-01T00:00:00Z');
insert into public.books values (1, 1, 2, 'One'), (2, 1, null, 'Two'), (3, 2, 1, 'Three');
insert into public.pages values (1, 1, 'p1'), (2, 1, 'p2'), (3, 2, 'p3');
insert into public.passports values (1, 'P1');
insert into public.labels values (1, 'red'), (2, 'blue');
insert into public.book_labels values (1, 1), (1, 2), (2, 2);
`

let project: TestProject
beforeAll(async () => {
  project = await testProject(SCHEMA)
})
afterAll(() => project.close())

describe('reading', () => {
  it('gives JSON as Postgres writes it', async () => {
    const { data, error } = await project.client().from('authors').select().eq('id', 1).single()
    expect(error).toBeNull()
    expect(data).toMatchObject({
      id: 1,
      score: 1.25,
      tags: ['math', 'code'],
      born: '2020-01-02T03:04:05+00:00',
    })
    const raw = await fetch(`${project.origin}/rest/v1/authors?select=big&id=eq.1`, {
      headers: { apikey: project.anonKey },
    })
    expect(await raw.text()).toBe('[{"big":9007199254740993}]')
  })

  it('selects columns, aliases, casts and JSON paths', async () => {
    const { data } = await project
      .client()
      .from('authors')
      .select('who:name,id::text,second:config->a->b->1,config->>s')
      .eq('id', 1)
    expect(data).toEqual([{ who: 'Ada', id: '1', second: 20, s: 'x' }])
  })

  const filters: [
    string,
    (query: ReturnType<typeof base>) => PromiseLike<{ data: { id: number }[] | null }>,
    number[],
  ][] = [
    ['eq', (q) => q.eq('name', 'Ada'), [1]],
    ['eq with odd characters', (q) => q.eq('name', 'Cy, "the" (odd) one'), [3]],
    ['eq of an enum', (q) => q.eq('mood', 'busy'), [2]],
    ['neq', (q) => q.neq('id', 1), [2, 3]],
    ['gt, lte', (q) => q.gt('id', 1).lte('id', 2), [2]],
    ['gte, lt', (q) => q.gte('id', 1).lt('id', 2), [1]],
    ['like', (q) => q.like('name', 'A%'), [1]],
    ['ilike', (q) => q.ilike('name', '%BO%'), [2]],
    ['likeAnyOf', (q) => q.likeAnyOf('name', ['A%', 'B%']), [1, 2]],
    ['in', (q) => q.filter('name', 'in', '(Bob,"Cy, \\"the\\" (odd) one")'), [2, 3]],
    ['in nothing', (q) => q.in('id', []), []],
    ['is null', (q) => q.is('born', null), [2]],
    ['not is null', (q) => q.not('born', 'is', null), [1, 3]],
    ['not eq', (q) => q.not('id', 'eq', 1), [2, 3]],
    ['or', (q) => q.or('id.eq.1,name.eq.Bob'), [1, 2]],
    ['or with and', (q) => q.or('and(id.gt.1,mood.eq.calm),name.eq."Ada"'), [1, 3]],
    ['or with in', (q) => q.or('id.in.(1,3),name.in.("Cy, \\"the\\" (odd) one")'), [1, 3]],
    ['or with not', (q) => q.or('id.not.in.(1,2),not.and(id.gt.1,id.lt.9)'), [1, 3]],
    ['contains array', (q) => q.contains('tags', ['math']), [1]],
    ['contains json', (q) => q.contains('config', { s: 'y' }), [2]],
    ['containedBy', (q) => q.containedBy('tags', ['code', 'x']), [2, 3]],
    ['overlaps', (q) => q.overlaps('tags', ['math', 'zzz']), [1]],
    ['JSON path', (q) => q.eq('config->>s', 'y'), [2]],
    ['JSON path with number', (q) => q.eq('config->a->b->0', 10), [1]],
    ['match', (q) => q.match({ id: 2, name: 'Bob' }), [2]],
    ['text search', (q) => q.textSearch('name', 'ada', { type: 'plain', config: 'english' }), [1]],
  ]
  const base = () => project.client().from('authors').select('id').order('id')
  it.each(filters)('filters: %s', async (_, apply, expected) => {
    const result = await apply(base())
    expect({ ...result, ids: result.data?.map((row) => row.id) }).toMatchObject({
      error: null,
      ids: expected,
    })
  })

  it('orders, with nulls where they are asked for', async () => {
    const query = (options: { ascending?: boolean; nullsFirst?: boolean }) =>
      project.client().from('authors').select('id').order('born', options)
    const ids = async (options: { ascending?: boolean; nullsFirst?: boolean }) =>
      (await query(options)).data?.map((row) => row.id)
    expect(await ids({ ascending: true, nullsFirst: true })).toEqual([2, 1, 3])
    expect(await ids({ ascending: false, nullsFirst: false })).toEqual([3, 1, 2])
  })

  it('pages and counts', async () => {
    const page = await project
      .client()
      .from('authors')
      .select('id', { count: 'exact' })
      .order('id')
      .range(1, 1)
    expect(page).toMatchObject({ data: [{ id: 2 }], count: 3, status: 206 })
    const head = await project
      .client()
      .from('authors')
      .select('*', { count: 'exact', head: true })
      .gt('id', 1)
    expect(head).toMatchObject({ data: null, count: 2, status: 200 })
    const beyond = await project.client().from('authors').select('id', { count: 'exact' }).range(10, 19)
    expect(beyond).toMatchObject({ status: 416, error: { code: 'PGRST103' } })
    const header = await fetch(`${project.origin}/rest/v1/authors?select=id&order=id`, {
      headers: { apikey: project.anonKey, range: '0-0', prefer: 'count=exact' },
    })
    expect([header.status, header.headers.get('content-range')]).toEqual([206, '0-0/3'])
  })

  it('single and maybeSingle', async () => {
    const authors = () => project.client().from('authors').select('id')
    expect(await authors().single()).toMatchObject({
      status: 406,
      error: { code: 'PGRST116', details: 'The result contains 3 rows', hint: null },
    })
    expect(await authors().eq('id', 99).single()).toMatchObject({ status: 406, error: { code: 'PGRST116' } })
    expect(await authors().eq('id', 99).maybeSingle()).toMatchObject({ data: null, error: null })
    expect(await authors().eq('id', 1).maybeSingle()).toMatchObject({ data: { id: 1 } })
  })
})

describe('embedding', () => {
  it('to one, to many, nested, and one to one', async () => {
    const { data, error } = await project
      .client()
      .from('authors')
      .select('name, books!books_author_id_fkey(title, pages(body)), passports(code)')
      .order('id')
    expect(error).toBeNull()
    expect(data?.[0]).toEqual({
      name: 'Ada',
      books: [
        { title: 'One', pages: [{ body: 'p1' }, { body: 'p2' }] },
        { title: 'Two', pages: [{ body: 'p3' }] },
      ],
      passports: { code: 'P1' },
    })
    expect(data?.[2]).toEqual({ name: 'Cy, "the" (odd) one', books: [], passports: null })
  })

  it('hints by constraint and by column, with aliases', async () => {
    const { data } = await project
      .client()
      .from('books')
      .select('title, writer:authors!author_id(name), editor:authors!books_editor_fkey(name)')
      .order('id')
    expect(data?.[1]).toEqual({ title: 'Two', writer: { name: 'Ada' }, editor: null })
  })

  it('needs a hint where two keys fit, and says when none does', async () => {
    expect(await project.client().from('books').select('authors(name)')).toMatchObject({
      status: 300,
      error: { code: 'PGRST201' },
    })
    expect(await project.client().from('books').select('defaults(id)')).toMatchObject({
      status: 400,
      error: { code: 'PGRST200' },
    })
  })

  it('many to many', async () => {
    const { data } = await project.client().from('books').select('id, labels(name)').order('id')
    expect(data?.[0]).toEqual({ id: 1, labels: [{ name: 'red' }, { name: 'blue' }] })
    expect(data?.[2]).toEqual({ id: 3, labels: [] })
  })

  it('inner joins filter the parent; filters, order and limit of the embed do not', async () => {
    const inner = await project.client().from('books').select('id, pages!inner(id)').eq('pages.id', 3)
    expect(inner.data).toEqual([{ id: 2, pages: [{ id: 3 }] }])
    const outer = await project
      .client()
      .from('books')
      .select('id, pages(id)')
      .order('id')
      .gt('pages.id', 1)
      .order('id', { referencedTable: 'pages', ascending: false })
      .limit(1, { referencedTable: 'pages' })
    expect(outer.data).toEqual([
      { id: 1, pages: [{ id: 2 }] },
      { id: 2, pages: [{ id: 3 }] },
      { id: 3, pages: [] },
    ])
    const or = await project
      .client()
      .from('books')
      .select('id, pages!inner(id)')
      .or('id.eq.1,id.eq.3', { referencedTable: 'pages' })
      .order('id')
    expect(or.data?.map((row) => row.id)).toEqual([1, 2])
    const without = await project.client().from('books').select('id, pages()').is('pages', null)
    expect(without.data).toEqual([{ id: 3 }])
    const counted = await project.client().from('books').select('id, pages(count)').order('id')
    expect(counted.data?.[0]).toEqual({ id: 1, pages: [{ count: 2 }] })
  })

  it('refuses a filter on an embed that is not selected', async () => {
    expect(await project.client().from('books').select('id').eq('pages.id', 1)).toMatchObject({
      error: { code: 'PGRST108' },
    })
  })
})

describe('writing', () => {
  const table = () => project.client().from('defaults')

  it('inserts with and without an answer, embeds included', async () => {
    expect(await table().insert({ label: 'minimal' })).toMatchObject({ status: 201, data: null, error: null })
    const { data, status } = await table().insert({ label: 'full', n: 1 }).select('n, label').single()
    expect([status, data]).toEqual([201, { n: 1, label: 'full' }])
    const book = await project
      .client()
      .from('books')
      .insert({ id: 10, author_id: 2, title: 'Ten' })
      .select('title, authors!author_id(name)')
      .single()
    expect(book.data).toEqual({ title: 'Ten', authors: { name: 'Bob' } })
  })

  it('inserts many, filling missing keys with null or with the default', async () => {
    const filled = await table()
      .insert([{ label: 'a', n: 1 }, { label: 'b' }], { defaultToNull: false })
      .select('n, label')
    expect(filled.data).toEqual([
      { n: 1, label: 'a' },
      { n: 7, label: 'b' },
    ])
    const nulls = await table()
      .insert([{ label: 'c', n: 1 }, { label: 'd' }])
      .select('n')
    expect(nulls.data).toEqual([{ n: 1 }, { n: null }])
    expect((await table().insert({}).select('n').single()).data).toEqual({ n: 7 })
    expect((await table().insert([]).select('n')).data).toEqual([])
  })

  it('upserts', async () => {
    const labels = () => project.client().from('labels')
    expect((await labels().upsert({ id: 1, name: 'crimson' }).select().single()).data).toEqual({
      id: 1,
      name: 'crimson',
    })
    expect((await labels().upsert({ id: 1, name: 'no' }, { ignoreDuplicates: true }).select()).data).toEqual(
      [],
    )
    const byName = await project
      .client()
      .from('authors')
      .upsert({ id: 2, name: 'Bob', big: 5 }, { onConflict: 'name' })
      .select('id, big')
      .single()
    expect(byName.data).toEqual({ id: 2, big: 5 })
  })

  it('updates and deletes what the filter leaves, counted, and never everything', async () => {
    await table().insert([{ label: 'u1' }, { label: 'u2' }])
    expect(await table().update({ n: 99 }, { count: 'exact' }).in('label', ['u1', 'u2'])).toMatchObject({
      status: 204,
      count: 2,
    })
    expect((await table().update({ n: 100 }).eq('label', 'u1').select('n')).data).toEqual([{ n: 100 }])
    expect((await table().delete().eq('label', 'u1').select('label')).data).toEqual([{ label: 'u1' }])
    expect(await table().delete()).toMatchObject({ status: 400, error: { code: '21000' } })
    expect(await table().update({ n: 0 })).toMatchObject({ status: 400, error: { code: '21000' } })
  })

  it('answers constraint violations and unknown names as PostgREST does', async () => {
    const labels = () => project.client().from('labels')
    expect(await labels().insert({ id: 1, name: 'x' })).toMatchObject({
      status: 409,
      error: { code: '23505', details: 'Key (id)=(1) already exists.', hint: null },
    })
    expect(await project.client().from('books').insert({ id: 50, author_id: 999, title: 'x' })).toMatchObject(
      { status: 409, error: { code: '23503' } },
    )
    expect(await project.client().from('books').insert({ id: 51, author_id: 1 })).toMatchObject({
      status: 400,
      error: { code: '23502' },
    })
    expect(await labels().insert({ nope: 1 })).toMatchObject({ status: 400, error: { code: 'PGRST204' } })
    expect(await labels().select('nope')).toMatchObject({
      status: 400,
      error: { code: '42703', message: 'column labels.nope does not exist' },
    })
    expect(await labels().select().eq('nope', 1)).toMatchObject({ status: 400, error: { code: '42703' } })
    expect(await labels().select().eq('id', 'x')).toMatchObject({ status: 400, error: { code: '22P02' } })
    expect(await project.client().from('nowhere').select()).toMatchObject({
      status: 404,
      error: { code: 'PGRST205', message: "Could not find the table 'public.nowhere' in the schema cache" },
    })
  })

  it('undoes a change whose answer is not single', async () => {
    await table().insert([{ label: 'twice' }, { label: 'twice' }])
    expect(await table().update({ n: -1 }).eq('label', 'twice').select().single()).toMatchObject({
      status: 406,
      error: { code: 'PGRST116' },
    })
    expect((await table().select('n').eq('label', 'twice')).data).toEqual([{ n: 7 }, { n: 7 }])
  })

  it('sees a table and a column that were made a moment ago', async () => {
    await project.sql('create table public.fresh (id int); insert into public.fresh values (1)')
    expect((await project.client().from('fresh').select()).data).toEqual([{ id: 1 }])
    await project.sql('alter table public.fresh add column later int default 5')
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect((await project.client().from('fresh').select('later')).data).toEqual([{ later: 5 }])
  })

  it('answers no more than a thousand rows', async () => {
    await project.sql('create table public.many as select generate_series(1, 1500) as id')
    expect((await project.client().from('many').select()).data).toHaveLength(1000)
  })
})
