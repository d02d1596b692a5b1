import { CSV_PARSER } from './load.ts'

export const PROFILE_MARK = '// Profile: what is in the file?'

/** Prints one line of JSON, read back by ../profile.ts. `async main` with `import()` runs as a module and as a script. */
export function profileProgram(file: string): string {
  return `${PROFILE_MARK}
const FILE = ${JSON.stringify(file)}

async function main() {
  const { readFileSync } = await import('node:fs')
  const bytes = readFileSync(FILE)
  console.log(JSON.stringify({ size_bytes: bytes.length, ...profile(bytes) }))
}

function profile(bytes) {
  if (bytes.length === 0) return { kind: 'empty' }
  const head = bytes.subarray(0, 65536)
  const control = head.filter((byte) => byte < 32 && ![9, 10, 12, 13, 27].includes(byte)).length
  if (head.includes(0) || control > head.length / 50) return { kind: 'binary', signature: signature(bytes) }
  const text = bytes.toString('utf8').replace(/^\\uFEFF/, '')
  const rows = text.split(/\\r?\\n/)
  const lines = rows.length - (rows.at(-1) === '' ? 1 : 0)
  return { ...(asJson(text) ?? asJsonLines(rows) ?? asCsv(text) ?? { kind: 'text' }), lines, sample: text.slice(0, 200) }
}

function asJson(text) {
  if (!/^\\s*[[{"\\d\\-tfn]/.test(text)) return
  let data
  try { data = JSON.parse(text) } catch { return }
  const root = Array.isArray(data) ? 'array' : data === null ? 'null' : typeof data
  const keys = root === 'object' ? Object.keys(data) : []
  const found = root === 'object' || root === 'array' ? collections(data, [], 0) : []
  found.sort((a, b) => b.values.length - a.values.length)
  return {
    kind: 'json',
    root,
    entries: root === 'array' ? data.length : keys.length,
    top_level_keys: keys.slice(0, 30).map((key) => key.slice(0, 60)),
    collections: found.slice(0, 10).map(({ path, values }) => ({ path: path.join('.').slice(0, 100), records: values.length })),
    collection: found.length > 0 ? describe(found[0].path, found[0].values) : null,
  }
}

function asJsonLines(rows) {
  const filled = rows.filter((row) => row.trim() !== '')
  if (filled.length < 2 || !filled.every((row) => row.trim().startsWith('{'))) return
  try { return { kind: 'jsonl', collection: describe([], filled.map((row) => JSON.parse(row))) } } catch { return }
}

function asCsv(text) {
  for (const delimiter of [',', ';', '\\t', '|']) {
    const parsed = parseCsv(text.slice(0, 65536), delimiter, true)
    const head = (text.length > 65536 ? parsed.slice(0, -1) : parsed).slice(0, 20)
    const [header = []] = head
    const fits = head.length > 1 && header.length > 1 && head.every((row) => row.length === header.length)
    // A space after a comma, or a very long name, is prose and no header.
    if (!fits || header.slice(1).some((name) => name.startsWith(' ')) || header.some((name) => name.length > 60)) continue
    return { kind: 'csv', delimiter, collection: describe([], parseCsv(text, delimiter)) }
  }
}

// Records are the objects of a list, or the values of an object when they look alike.
function collections(node, path, depth) {
  const values = Object.values(node)
  const objects = values.filter(isObject)
  if (Array.isArray(node)) return objects.length > 0 && objects.length >= values.length / 2 ? [{ path, values: objects }] : []
  if (objects.length >= 3 && objects.length === values.length && alike(objects)) return [{ path, values: objects }]
  if (depth >= 3) return []
  return Object.keys(node).flatMap((key) =>
    typeof node[key] === 'object' && node[key] !== null ? collections(node[key], [...path, key], depth + 1) : [])
}

function alike(objects) {
  const counts = new Map()
  for (const object of objects) for (const key of Object.keys(object)) counts.set(key, (counts.get(key) ?? 0) + 1)
  return [...counts.values()].some((count) => count >= objects.length / 2)
}

function describe(path, records) {
  const fields = new Map()
  for (const record of records) {
    for (const [name, value] of Object.entries(record)) {
      if (value === '' || value === null || value === undefined) continue
      if (!fields.has(name)) fields.set(name, { present: 0, types: new Set(), values: new Set() })
      const field = fields.get(name)
      field.present += 1
      field.types.add(typeOf(value))
      if (field.values.size < 1000) field.values.add(typeof value === 'object' ? JSON.stringify(value) : String(value))
    }
  }
  return {
    path,
    records: records.length,
    field_count: fields.size,
    fields: [...fields]
      .sort((a, b) => b[1].present - a[1].present)
      .slice(0, 40)
      .map(([name, { present, types, values }]) => ({
        name: name.slice(0, 60), type: types.size === 1 ? [...types][0] : 'mixed', present, distinct: values.size,
      })),
  }
}

function typeOf(value) {
  if (typeof value === 'boolean' || value === 'true' || value === 'false') return 'flag'
  if (typeof value === 'number' || (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)))) return 'number'
  return Array.isArray(value) ? 'list' : typeof value === 'object' ? 'object' : 'text'
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function signature(bytes) {
  const known = { '89504e47': 'PNG image', 'ffd8ff': 'JPEG image', '25504446': 'PDF document', '504b0304': 'ZIP archive',
    '1f8b': 'gzip archive', '47494638': 'GIF image', '7f454c46': 'ELF program', '53514c69': 'SQLite database' }
  const start = bytes.subarray(0, 8).toString('hex')
  return known[Object.keys(known).find((prefix) => start.startsWith(prefix))] ?? ''
}
${CSV_PARSER}
main()
`
}
