import type pg from 'pg'
import { asDatabaseAway } from '../transact.ts'
import { CATALOG_SQL, ROLE_SETTINGS_SQL } from './catalog-sql.ts'

export interface Column {
  name: string
  /** As `format_type` writes it: safe to put into SQL. */
  type: string
  /** SQL of the default, or null. */
  default: string | null
}

export interface Relation {
  oid: number
  schema: string
  name: string
  columns: Column[]
  primaryKey: string[]
  /** Column sets that are unique: they make the far side of a foreign key "to one". */
  uniques: string[][]
}

export interface ForeignKey {
  name: string
  from: number
  to: number
  fromColumns: string[]
  toColumns: string[]
}

export interface Routine {
  schema: string
  name: string
  volatile: boolean
  args: { name: string; type: string; required: boolean }[]
  /** Columns when it returns a table or composite, else null (a scalar). */
  columns: Column[] | null
  /** The relation whose row type it returns, for embeds. */
  relation: number | null
  set: boolean
  void: boolean
}

export interface Catalog {
  relations: Map<string, Relation>
  byOid: Map<number, Relation>
  foreignKeys: ForeignKey[]
  routines: Map<string, Routine[]>
  roleSettings: Map<string, [name: string, value: string][]>
}

// Reading the catalogue takes about 10 ms; a change shows after this long at most, and a missed name reads it at once.
const MAX_AGE_MS = 2000

export interface CatalogReader {
  get(): Promise<Catalog>
  /** Reads it anew, after a name was not found. */
  refresh(): Promise<Catalog>
}

export function catalogReader(pool: pg.Pool, schema: string): CatalogReader {
  let cached: { at: number; catalog: Promise<Catalog> } | undefined
  const refresh = () => {
    const entry = { at: Date.now(), catalog: readCatalog(pool, schema) }
    cached = entry
    entry.catalog.catch(() => {
      if (cached === entry) cached = undefined
    })
    return entry.catalog
  }
  const get = () =>
    cached !== undefined && Date.now() - cached.at <= MAX_AGE_MS ? cached.catalog : refresh()
  return { get, refresh }
}

interface CatalogRow {
  relations: Relation[] | null
  foreign_keys: ForeignKey[] | null
  routines: Routine[] | null
}

async function readCatalog(pool: pg.Pool, schema: string): Promise<Catalog> {
  const [{ rows }, settings] = await Promise.all([
    pool.query<CatalogRow>(CATALOG_SQL, [schema]),
    pool.query<{ role: string; setting: string }>(ROLE_SETTINGS_SQL),
  ]).catch((error: unknown) => {
    throw asDatabaseAway(error)
  })
  const { relations, foreign_keys, routines } = rows[0] ?? {
    relations: null,
    foreign_keys: null,
    routines: null,
  }
  const byName = Map.groupBy(routines ?? [], (routine) => routine.name)
  const roleSettings = new Map<string, [string, string][]>()
  for (const { role, setting } of settings.rows) {
    const at = setting.indexOf('=')
    const list = roleSettings.get(role) ?? []
    list.push([setting.slice(0, at), setting.slice(at + 1)])
    roleSettings.set(role, list)
  }
  return {
    relations: new Map((relations ?? []).map((relation) => [relation.name, relation])),
    byOid: new Map((relations ?? []).map((relation) => [relation.oid, relation])),
    foreignKeys: foreign_keys ?? [],
    routines: byName,
    roleSettings,
  }
}
