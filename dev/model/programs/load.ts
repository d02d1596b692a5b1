import type { Profile } from '../profile.ts'

/** Quoted cells, doubled quotes, any line ends. With `raw`, rows of cells; else objects keyed by the header. */
export const CSV_PARSER = `
function parseCsv(text, delimiter, raw = false) {
  const rows = [[]]
  let cell = ''
  let quoted = false
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i]
    if (quoted) {
      if (char !== '"') cell += char
      else if (text[i + 1] === '"') { cell += '"'; i += 1 }
      else quoted = false
    } else if (char === '"' && cell === '') quoted = true
    else if (char === delimiter) { rows.at(-1).push(cell); cell = '' }
    else if (char === '\\n') { rows.at(-1).push(cell.replace(/\\r$/, '')); cell = ''; rows.push([]) }
    else cell += char
  }
  rows.at(-1).push(cell.replace(/\\r$/, ''))
  const filled = rows.filter((row) => row.length > 1 || row[0] !== '')
  if (raw) return filled
  const header = (filled[0] ?? []).map((name, index) => name.trim() || 'column ' + (index + 1))
  return filled.slice(1).map((row) => Object.fromEntries(header.map((name, index) => [name, row[index] ?? ''])))
}
`

/** A function \`load(text)\` that gives the records of this file: only what its kind needs. */
export function loadFunction(profile: Profile): string {
  if (profile.kind === 'csv') {
    return `
const load = (text) => parseCsv(text.replace(/^\\uFEFF/, ''), ${JSON.stringify(profile.delimiter)})
${CSV_PARSER}`
  }
  if (profile.kind === 'jsonl') {
    return `
const load = (text) => text.split('\\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line))
`
  }
  const path = (profile.collection?.path ?? []).map((key) => `[${JSON.stringify(key)}]`).join('')
  return `
const load = (text) => Object.values(JSON.parse(text.replace(/^\\uFEFF/, ''))${path}).filter((record) => typeof record === 'object' && record !== null && !Array.isArray(record))
`
}
