import { CSV_PARSER } from './load.ts'
import { SUMMARY_FILE } from './summary-programs.ts'

export const CHART_MARK = '// Chart: the table as a picture'
export const CHART_FILE = 'outputs/chart.svg'

export interface ChartLabels {
  title: string
  subtitle: string
  /** Name of the bar for all groups after the tenth, e.g. `others`. */
  others: string
  empty: string
  /** BCP 47, for the numbers. */
  locale: string
}

export function chartProgram(labels: ChartLabels): string {
  return `${CHART_MARK}
const LABELS = ${JSON.stringify(labels)}
const WIDTH = 960, ROW = 38, TOP = 104, FONT = 'system-ui, -apple-system, Segoe UI, Roboto, sans-serif'

async function main() {
  const fs = await import('node:fs')
  const rows = parseCsv(fs.readFileSync('${SUMMARY_FILE}', 'utf8'), ',').map(({ count, group }) => ({ group, count: Number(count) }))
  const bars = rows.slice(0, 10)
  const rest = rows.slice(10)
  if (rest.length > 0) {
    bars.push({ group: LABELS.others + ' (' + rest.length + ')', count: rest.reduce((sum, row) => sum + row.count, 0), rest: true })
  }
  const svg = draw(bars, rows.reduce((sum, row) => sum + row.count, 0))
  fs.writeFileSync('${CHART_FILE}', svg)
  console.log(JSON.stringify({ bars: bars.length, bytes: Buffer.byteLength(svg) }))
}

function draw(bars, total) {
  const height = TOP + Math.max(1, bars.length) * ROW + 44
  const left = 40 + Math.min(320, Math.max(60, ...bars.map(({ group }) => 9 * [...short(group)].length)))
  const right = WIDTH - 150
  const most = Math.max(1, ...bars.map(({ count }) => count))
  const step = niceStep(most / 5)
  const x = (value) => left + ((right - left) * value) / (Math.ceil(most / step) * step)
  const ticks = bars.length === 0 ? [] : Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step)
  const grid = ticks.map((tick) =>
    line(x(tick), TOP - 8, x(tick), height - 36, '#e4e6eb') + text(x(tick), height - 16, 12, '#7a8190', number(tick), 'middle'))
  const drawn = bars.map(({ group, count, rest }, index) => {
    const y = TOP + index * ROW
    const share = total > 0 ? (100 * count) / total : 0
    const fill = rest ? '#b7bfcc' : index === 0 ? '#2f5fd0' : '#7c9df0'
    return text(left - 12, y + 19, 14, '#1d2433', short(group), 'end') +
      '<rect x="' + left + '" y="' + (y + 2) + '" width="' + Math.max(2, x(count) - left).toFixed(1) + '" height="24" rx="4" fill="' + fill + '"><title>' + xml(group) + ': ' + number(count) + '</title></rect>' +
      text(x(count) + 10, y + 19, 13, '#3d4557', number(count) + '  (' + share.toLocaleString(LABELS.locale, { maximumFractionDigits: 1 }) + ' %)', 'start')
  })
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ' + WIDTH + ' ' + height + '" width="' + WIDTH + '" height="' + height + '" role="img" font-family="' + FONT + '">',
    '<title>' + xml(LABELS.title) + '</title>',
    '<rect width="100%" height="100%" fill="#fbfbfd"/>',
    text(40, 44, 22, '#1d2433', LABELS.title, 'start', 600),
    text(40, 72, 14, '#626a7a', LABELS.subtitle, 'start'),
    ...grid, ...drawn,
    bars.length === 0 ? text(40, TOP + 24, 16, '#626a7a', LABELS.empty, 'start') : '',
    '</svg>',
  ].filter(Boolean).join('\\n') + '\\n'
}

function text(x, y, size, fill, content, anchor, weight = 400) {
  return '<text x="' + x.toFixed(1) + '" y="' + y + '" font-size="' + size + '" font-weight="' + weight + '" fill="' + fill + '" text-anchor="' + anchor + '">' + xml(content) + '</text>'
}

function line(x1, y1, x2, y2, stroke) {
  return '<line x1="' + x1.toFixed(1) + '" y1="' + y1 + '" x2="' + x2.toFixed(1) + '" y2="' + y2 + '" stroke="' + stroke + '"/>'
}

function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)))
  return Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= raw) * power)
}

function number(value) {
  return value.toLocaleString(LABELS.locale)
}

function short(label) {
  const characters = [...label]
  return characters.length > 36 ? characters.slice(0, 35).join('') + '…' : label
}

// Characters that XML has no way to write are left out.
function xml(text) {
  return text.toWellFormed().replace(/[^\\t\\n\\r -\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]/gu, '')
    .replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
${CSV_PARSER}
main()
`
}
