import pg from 'pg'

interface PlanNode {
  'Node Type': string
  Schema?: string
  'Relation Name'?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: PlanNode[]
}
/** One visit of a table by a statement, nested ones included. */
export interface Visit {
  statement: string
  node: string
  table: string
  /** Rows that were looked at, whether they were of use or not. */
  rows: number
}

/** A session of the superuser that becomes others, and is told the plan of every statement they run, those inside functions included. */
export async function explainedSession(superuserUrl: string) {
  const client = new pg.Client({ connectionString: superuserUrl })
  await client.connect()
  const visits: Visit[] = []
  let statements = 0
  client.on('notice', ({ message }) => {
    const at = message?.indexOf('plan:\n') ?? -1
    if (message === undefined || at < 0) return
    const { 'Query Text': text, Plan } = JSON.parse(message.slice(at + 6)) as {
      'Query Text': string
      Plan: PlanNode
    }
    statements += 1
    walk(Plan, text.replaceAll(/\s+/g, ' ').slice(0, 120), visits)
  })
  await client.query(`
    load 'auto_explain';
    set auto_explain.log_min_duration = 0;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_analyze = on;
    set auto_explain.log_timing = off;
    set auto_explain.log_verbose = on;
    set auto_explain.log_format = json;
    set auto_explain.log_level = notice`)
  return {
    client,
    visits,
    statements: () => statements,
    /** One call in a transaction of its own, as the role and with the claims that PostgREST would set. */
    async as<T extends pg.QueryResultRow>(
      role: string,
      text: string,
      values: unknown[] = [],
      claims: unknown = {},
    ): Promise<T[]> {
      await client.query('begin')
      try {
        await client.query(`select set_config('request.jwt.claims', $1, true)`, [JSON.stringify(claims)])
        await client.query(`set local role ${role}`)
        const { rows } = await client.query<T>(text, values)
        await client.query('commit')
        return rows
      } catch (error) {
        await client.query('rollback')
        throw error
      }
    },
    close: () => client.end(),
  }
}

function walk(node: PlanNode, statement: string, visits: Visit[]): void {
  const table = node['Relation Name']
  if (table !== undefined) {
    const each =
      (node['Actual Rows'] ?? 0) +
      (node['Rows Removed by Filter'] ?? 0) +
      (node['Rows Removed by Index Recheck'] ?? 0)
    visits.push({
      statement,
      node: node['Node Type'],
      table: `${node.Schema}.${table}`,
      rows: each * (node['Actual Loops'] ?? 1),
    })
  }
  for (const child of node.Plans ?? []) walk(child, statement, visits)
}
