/** What the profile program printed, checked: it comes out of a conversation. */
export interface Field {
  name: string
  /** `text`, `number`, `flag`, `list`, `object` or `mixed`. */
  type: string
  /** Records that have it. */
  present: number
  /** Different values, counted up to 1000. */
  distinct: number
  /** Records in the collection. */
  records: number
}

export interface Profile {
  kind: 'json' | 'jsonl' | 'csv' | 'text' | 'binary' | 'empty'
  sizeBytes: number
  /** JSON: `object`, `array`, `string`, …; else ''. */
  root: string
  lines: number
  delimiter: string
  signature: string
  /** The largest collection of records, if there is one. Path of keys from the root. */
  collection: { path: string[]; records: number; fieldCount: number; fields: Field[] } | undefined
}

const KINDS = ['json', 'jsonl', 'csv', 'text', 'binary', 'empty'] as const

export function readProfile(printed: Record<string, unknown> | undefined): Profile | undefined {
  const kind = KINDS.find((known) => known === printed?.kind)
  if (printed === undefined || kind === undefined) return undefined
  const { collection } = printed as {
    collection?: Record<'path' | 'records' | 'field_count' | 'fields', unknown> | null
  }
  const records = number(collection?.records)
  return {
    kind,
    sizeBytes: number(printed.size_bytes),
    root: string(printed.root),
    lines: number(printed.lines),
    delimiter: string(printed.delimiter),
    signature: string(printed.signature),
    collection:
      collection === undefined || collection === null
        ? undefined
        : {
            path: list(collection.path).map(string),
            records,
            fieldCount: number(collection.field_count),
            fields: list(collection.fields).map((field) => {
              const { name, type, present, distinct } = field as Record<string, unknown>
              return {
                name: string(name),
                type: string(type),
                present: number(present),
                distinct: number(distinct),
                records,
              }
            }),
          },
  }
}

export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}

export function string(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
