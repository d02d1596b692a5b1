import type pg from 'pg'
import type { Suite } from './collect.ts'
import { runSuite } from './run-suites.ts'

/**
 * Which functions each case calls: a mutant of a function is shown only to the cases that reach it. A sequence a function counts the
 * calls, as it keeps its number when the transaction that called is undone.
 */
export async function instrument(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string; definition: string }>(`
    select n.nspname || '.' || p.proname as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
    where l.lanname = 'plpgsql' and (n.nspname = 'private' or (n.nspname = 'public' and p.proname like 'agent\\_%')) order by 1`)
  for (const [n, { definition }] of rows.entries()) {
    await client.query(
      `create sequence public.called_${n}; grant usage on sequence public.called_${n} to public;`,
    )
    await client.query(definition.replace(/\nbegin\n/, `\nbegin\n  perform nextval('public.called_${n}');\n`))
  }
  return rows.map(({ name }) => name)
}

/** Runs every case once on the instrumented database and notes what it called; answers the first that fails. */
export async function measure(
  suites: readonly Suite[],
  functions: readonly string[],
  connect: (database: string) => Promise<pg.Client>,
  inOrder: ReadonlySet<Suite>,
): Promise<string | undefined> {
  for (const suite of suites) {
    let counted: pg.Client | undefined
    let before = ''
    let began = performance.now()
    const read = async (): Promise<string[]> => {
      counted ??= await connect(await onlyTestDatabase(connect))
      const { rows } = await counted.query<{ n: string; count: string | null }>(
        `select substr(sequencename, 8) as n, last_value as count from pg_sequences where sequencename like 'called\\_%' order by 1`,
      )
      return rows.map(({ n, count }) => `${n}:${count}`)
    }
    const remember = async () => {
      before = (await read()).join()
      began = performance.now()
    }
    const noticed = await runSuite(
      { ...suite, before: [...suite.before, remember] },
      suite.cases,
      async (done) => {
        done.milliseconds = performance.now() - began
        const known = new Set(before.split(','))
        const now = await read()
        before = now.join()
        done.calls = new Set(
          now
            .filter((entry) => !known.has(entry))
            .map((entry) => functions[Number.parseInt(entry, 10)] ?? ''),
        )
        began = performance.now()
      },
    )
    await counted?.end()
    // the quick ones are asked first, where no case minds what the others leave behind
    if (!inOrder.has(suite)) suite.cases.sort((a, b) => (a.milliseconds ?? 0) - (b.milliseconds ?? 0))
    if (noticed !== undefined) return noticed
  }
  return undefined
}

async function onlyTestDatabase(connect: (database: string) => Promise<pg.Client>): Promise<string> {
  const client = await connect('postgres')
  try {
    const { rows } = await client.query<{ datname: string }>(
      `select datname from pg_database where datname like 'test\\_%'`,
    )
    if (rows.length !== 1) throw new Error(`one test database was expected, there are ${rows.length}`)
    return rows[0]?.datname ?? ''
  } finally {
    await client.end()
  }
}
