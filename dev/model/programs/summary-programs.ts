import type { Profile } from '../profile.ts'
import { loadFunction } from './load.ts'

export const SUMMARY_MARK = '// Summary: how does it divide?'
export const SUMMARY_FILE = 'outputs/summary.csv'

/** Labels in the user's language that end up in the table. */
export interface SummaryLabels {
  none: string
  /** Printable characters, control characters, zeros, bytes from 128 up. */
  bytes: readonly [string, string, string, string]
}

/** Every summary program writes the same table and prints the same line of JSON, so that what follows needs no cases. */
const WRITE_TABLE = `
function writeTable(groups, more) {
  const total = groups.reduce((sum, [, count]) => sum + count, 0)
  const rows = groups.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  const cell = (text) => (/[",]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text)
  const lines = rows.map(([label, count]) => count + ',' + ((100 * count) / total).toFixed(2) + ',' + cell(label))
  fs.mkdirSync('outputs', { recursive: true })
  fs.writeFileSync('${SUMMARY_FILE}', ['count,percent,group', ...lines].join('\\n') + '\\n')
  const once = rows.filter(([, count]) => count === 1).length
  console.log(JSON.stringify({ total, groups: rows.length, once, top: rows.slice(0, 5), ...more }))
}

function clean(text) {
  const line = String(text).replace(/[\\s\\p{Cc}]+/gu, ' ').trim()
  return line.length > 60 ? line.slice(0, 59) + '…' : line
}

function tally(items) {
  const counts = new Map()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return [...counts]
}
`

function program(file: string, constants: Record<string, unknown>, body: string): string {
  const named = Object.entries({ FILE: file, ...constants }).map(
    ([name, value]) => `const ${name} = ${JSON.stringify(value)}`,
  )
  return `${SUMMARY_MARK}
${named.join('\n')}
let fs

async function main() {
  fs = await import('node:fs')
${body.trim()}
${WRITE_TABLE}
main()
`
}

/** Counts records by one field; fails, naming the fields there are, when no record has it. */
export function recordsProgram(file: string, profile: Profile, field: string, labels: SummaryLabels): string {
  return program(
    file,
    { FIELD: field, NONE: labels.none },
    `
  const records = load(fs.readFileSync(FILE, 'utf8'))
  const fields = tally(records.flatMap((record) => Object.keys(record))).sort((a, b) => b[1] - a[1]).map(([name]) => name)
  if (!fields.includes(FIELD)) {
    throw new Error("no record has a field '" + FIELD + "'; the fields are: " + fields.slice(0, 60).join(', '))
  }
  const given = records.map((record) => record[FIELD]).filter((value) => value !== undefined && value !== null && value !== '')
  const label = labelFor(given)
  const missing = records.length - given.length
  const groups = tally(given.map(label))
  writeTable(missing > 0 ? [...groups, [NONE, missing]] : groups, { field: FIELD, missing, ...extras(records, fields) })
}
${loadFunction(profile)}
// Numbers with many values are put into eight ranges of equal width; everything else stands for itself.
function labelFor(values) {
  const numbers = values.map(Number)
  const many = new Set(numbers).size > 12 && values.every((value) => typeof value !== 'boolean' && String(value).trim() !== '')
  if (!many || !numbers.every(Number.isFinite)) return (value) => clean(typeof value === 'object' ? listed(value) : value)
  const low = numbers.reduce((a, b) => Math.min(a, b))
  const width = (numbers.reduce((a, b) => Math.max(a, b)) - low) / 8
  const edge = (index) => Number((low + index * width).toPrecision(4))
  return (value) => {
    const index = Math.min(7, Math.floor((Number(value) - low) / width))
    return edge(index) + ' – ' + edge(index + 1)
  }
}

function listed(value) {
  return Array.isArray(value) && value.every((item) => typeof item !== 'object') ? value.join(', ') : JSON.stringify(value)
}

// Fields that are only ever yes or no, and fields of numbers.
function extras(records, fields) {
  const flags = []
  const numbers = []
  for (const name of fields.slice(0, 40)) {
    const values = records.map((record) => record[name]).filter((value) => value !== undefined && value !== null && value !== '')
    if (values.every((value) => ['true', 'false'].includes(String(value)))) {
      flags.push([clean(name), values.filter((value) => String(value) === 'true').length])
    } else if (values.every((value) => typeof value !== 'object' && String(value).trim() !== '' && Number.isFinite(Number(value)))) {
      const amounts = values.map(Number)
      const sum = amounts.reduce((a, b) => a + b, 0)
      numbers.push({ field: clean(name), sum: round(sum), mean: round(sum / amounts.length),
        min: amounts.reduce((a, b) => Math.min(a, b)), max: amounts.reduce((a, b) => Math.max(a, b)) })
    }
  }
  return { flags: flags.slice(0, 5), numbers: numbers.slice(0, 3) }
}

function round(value) {
  return Number(value.toPrecision(12))
}
`,
  )
}

/** JSON without records: the parts of its top level by how much they hold. */
export function shapeProgram(file: string): string {
  return program(
    file,
    {},
    `
  const data = JSON.parse(fs.readFileSync(FILE, 'utf8').replace(/^\\uFEFF/, ''))
  const size = (value) => (typeof value === 'object' && value !== null ? Object.keys(value).length : 1)
  if (Array.isArray(data)) writeTable(tally(data.map((item) => clean(typeof item === 'object' ? JSON.stringify(item) : item))), {})
  else if (typeof data === 'object' && data !== null) {
    writeTable(Object.entries(data).map(([key, value]) => [clean(key), size(value)]).filter(([, count]) => count > 0), {})
  } else writeTable([[clean(data), 1]], {})
}
`,
  )
}

/** Text: its words of three letters and more. */
export function wordsProgram(file: string): string {
  return program(
    file,
    {},
    `
  const text = fs.readFileSync(FILE, 'utf8')
  const words = text.match(/[\\p{L}\\p{N}]+(?:['’-][\\p{L}\\p{N}]+)*/gu) ?? []
  const long = words.map((word) => word.toLowerCase()).filter((word) => [...word].length >= 3)
  const longest = text.split('\\n').reduce((most, line) => Math.max(most, line.length), 0)
  writeTable(tally(long.map(clean)), { words: words.length, characters: [...text].length, longest_line: longest })
}
`,
  )
}

/** Binary and empty files: their bytes by kind. */
export function bytesProgram(file: string, labels: SummaryLabels): string {
  return program(
    file,
    { KINDS: labels.bytes },
    `
  const counts = [0, 0, 0, 0]
  for (const byte of fs.readFileSync(FILE)) counts[byte === 0 ? 2 : byte >= 128 ? 3 : byte < 32 || byte === 127 ? 1 : 0] += 1
  writeTable(KINDS.map((kind, index) => [kind, counts[index]]).filter(([, count]) => count > 0), {})
}
`,
  )
}
