import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { respond } from './respond.ts'
import type { ScriptRequest } from './script.ts'
import { type LoopResult, runLoop, type Turn } from './tool-loop.ts'

const PROMPT =
  'Analyse the attached file: what is in it, what stands out? Give me a CSV, an SVG chart and a short answer.'

const done: LoopResult[] = []
afterEach(async () => {
  for (const loop of done.splice(0)) await loop.remove()
})

/** Each turn is asked twice, the second time of a copy: the script may remember nothing. */
function ask(request: ScriptRequest): Turn {
  const turn = respond(request)
  expect(respond(structuredClone(request))).toEqual(turn)
  const id = `toolu_${request.messages.length}`
  return { text: turn.text, calls: turn.call === undefined ? [] : [{ id, ...turn.call }] }
}

async function analyse(
  files: Record<string, string | Uint8Array>,
  more: Partial<Parameters<typeof runLoop>[0]> = {},
) {
  const loop = await runLoop({ prompt: PROMPT, files, ask, ...more })
  done.push(loop)
  const read = (path: string) => readFile(join(loop.directory, path), 'utf8')
  const svg = await read('outputs/chart.svg').catch(() => '')
  const csv = await read('outputs/summary.csv').catch(() => '')
  const rows = csv
    .trim()
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => {
      const [, count, percent, group] = /^(\d+),([\d.]+),(.*)$/.exec(line) ?? []
      if (count === undefined || group === undefined) throw new Error(`not a row: ${line}`)
      return {
        count: Number(count),
        percent: Number(percent),
        group: group.replace(/^"(.*)"$/, '$1').replaceAll('""', '"'),
      }
    })
  return { ...loop, svg, csv, rows, failed: loop.steps.filter((step) => step.isError) }
}

const n = (value: number, locale = 'en-US') => value.toLocaleString(locale)
const names = (loop: LoopResult) => loop.steps.map(({ name }) => name)
const ALL_STEPS = ['code', 'advance_phase', 'code', 'shell', 'advance_phase', 'code', 'message']

/** A small strict XML reader: tags must nest, attributes be quoted, no bare `&` or `<`. */
function expectXml(text: string) {
  const open: string[] = []
  let rest = text.trim()
  while (rest !== '') {
    const tag = /^<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<&]*(?:&(?:amp|lt|gt|quot);[^"<&]*)*")*)\s*(\/?)>/i.exec(
      rest,
    )
    const chars = /^(?:[^<&]|&(?:amp|lt|gt|quot);)+/.exec(rest)
    if (tag?.[2] !== undefined) {
      if (tag[1] === '/') expect(open.pop()).toBe(tag[2])
      else if (tag[4] !== '/') open.push(tag[2])
      rest = rest.slice(tag[0].length)
    } else if (chars !== null) rest = rest.slice(chars[0].length)
    else throw new Error(`not XML at: ${rest.slice(0, 80)}`)
  }
  expect(open).toEqual([])
  expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
  expect(text).not.toMatch(/NaN|undefined|Infinity/)
}

function lockfile() {
  return readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')
}

describe('the demonstration on a file', () => {
  test('package-lock.json: one guess fails, the error text repairs it, and all numbers are those of the file', async () => {
    const text = await lockfile()
    const records: { license?: string; dev?: boolean }[] = Object.values(JSON.parse(text).packages)
    const counts = new Map<string, number>()
    for (const { license } of records)
      if (license !== undefined) counts.set(license, (counts.get(license) ?? 0) + 1)
    const missing = records.filter(({ license }) => license === undefined).length
    const [most = ['', 0]] = [...counts].sort((a, b) => b[1] - a[1])

    const loop = await analyse({ 'package-lock.json': text })
    expect(names(loop)).toEqual([
      'code',
      'advance_phase',
      'code',
      'code',
      'shell',
      'advance_phase',
      'code',
      'message',
    ])
    expect(loop.failed).toHaveLength(1)
    expect(loop.failed[0]?.result).toContain("no record has a field 'licence'; the fields are: ")
    expect(loop.steps[3]?.input.code).toContain('const FIELD = "license"')

    expect(loop.rows.reduce((sum, row) => sum + row.count, 0)).toBe(records.length)
    for (const { group, count } of loop.rows)
      expect(group === '(none)' ? missing : counts.get(group)).toBe(count)
    expect(loop.answer).toContain(
      `**${n(Buffer.byteLength(text))} bytes** with **${n(records.length)} records**`,
    )
    expect(loop.answer).toContain(`**\`${most[0]}\` with ${n(most[1])}** of ${n(records.length)}`)
    expect(loop.answer).toContain(`\`dev\` ${n(records.filter(({ dev }) => dev === true).length)}`)
    expect(loop.answer).toContain(`make ${n(records.length)}.`)
    expect(loop.answer).toContain('guessed a field `licence`')
    expect(loop.answer).toContain('scripted model')
    expectXml(loop.svg)
    expect(loop.svg).toContain(`>${most[0]}</text>`)
  })

  test('the name comes out of the error text, not out of the script', async () => {
    const text = JSON.stringify({
      packages: { a: { lizence: 'MIT' }, b: { lizence: 'ISC' }, c: { lizence: 'MIT' } },
    })
    const loop = await analyse({ 'x.json': text })
    expect(loop.failed).toHaveLength(1)
    expect(loop.steps[3]?.input.code).toContain('const FIELD = "lizence"')
    expect(loop.answer).toContain('**`MIT` with 2** of 3')
  })

  test('where the guess is right nothing fails', async () => {
    const text = JSON.stringify([{ category: 'a' }, { category: 'b' }, { category: 'a' }])
    const loop = await analyse({ 'list.json': text })
    expect(names(loop)).toEqual(ALL_STEPS)
    expect(loop.failed).toEqual([])
    expect(loop.answer).not.toContain('guessed')
    expect(loop.rows).toEqual([
      { count: 2, percent: 66.67, group: 'a' },
      { count: 1, percent: 33.33, group: 'b' },
    ])
  })

  test('an object of lists: the largest list of records is taken, numbers and flags are summed up', async () => {
    const orders = Array.from({ length: 30 }, (_, id) => ({
      id,
      country: ['CH', 'DE', 'FR'][id % 3],
      price: id * 1.5,
      paid: id % 2 === 0,
    }))
    const loop = await analyse({
      'shop.json': JSON.stringify({ version: 3, users: [{ name: 'x' }], shop: { orders } }),
    })
    expect(loop.failed).toHaveLength(1)
    expect(loop.answer).toContain('30 records** and 4 fields in `shop.orders`')
    expect(loop.answer).toContain('By `country`: **3 groups**')
    expect(loop.answer).toContain('`paid` 15')
    expect(loop.answer).toContain('`price`: from 0 to 43.5, mean 21.75, sum 652.5')
  })

  test('CSV with quotes, semicolons and hostile labels', async () => {
    const loop = await analyse({
      'data.csv':
        'name;category;amount\r\n"a;b";"<b>&""x"""; 3\r\nc;plain, with comma;4\r\nd;"<b>&""x""";5\r\n"two\nlines";;1\r\n',
    })
    expect(loop.failed).toEqual([])
    expect(loop.answer).toContain('**4 records** and 3 fields')
    expect(loop.rows).toEqual([
      { count: 2, percent: 50, group: '<b>&"x"' },
      { count: 1, percent: 25, group: '(none)' },
      { count: 1, percent: 25, group: 'plain, with comma' },
    ])
    expect(loop.answer).toContain('`amount`: from 1 to 5, mean 3.25, sum 13')
    expectXml(loop.svg)
    expect(loop.svg).toContain('&lt;b&gt;&amp;&quot;x&quot;')
  })

  test('JSON lines, and a field of many numbers in ranges', async () => {
    const text = Array.from({ length: 100 }, (_, category) => JSON.stringify({ category })).join('\n')
    const loop = await analyse({ 'log.jsonl': text })
    expect(loop.failed).toEqual([])
    expect(loop.rows).toHaveLength(8)
    expect(loop.rows.reduce((sum, row) => sum + row.count, 0)).toBe(100)
  })

  test('plain text: words and lines', async () => {
    const text = 'The cat sat.\nThe dog sat, the cat ran.\n'
    const loop = await analyse({ 'story.txt': text })
    expect(loop.failed).toEqual([])
    expect(loop.answer).toContain('**9 words** in 2 lines (39 characters; the longest line has 25)')
    expect(loop.rows[0]).toEqual({ count: 3, percent: 33.33, group: 'the' })
    expectXml(loop.svg)
  })

  test('an empty file', async () => {
    const loop = await analyse({ 'nothing.txt': '' })
    expect(loop.failed).toEqual([])
    expect(loop.csv).toBe('count,percent,group\n')
    expect(loop.answer).toContain('an empty file of **0 bytes**')
    expect(loop.answer).toContain('nothing in it to count')
    expectXml(loop.svg)
  })

  test('a binary file', async () => {
    const bytes = Uint8Array.from(
      { length: 1000 },
      (_, index) => (index < 4 ? [0x89, 0x50, 0x4e, 0x47][index] : index % 256) ?? 0,
    )
    const loop = await analyse({ 'picture.png': bytes })
    expect(loop.failed).toEqual([])
    expect(loop.answer).toContain('a binary file (PNG image) of **1,000 bytes**')
    expect(loop.rows.reduce((sum, row) => sum + row.count, 0)).toBe(1000)
    expect(loop.rows.find(({ group }) => group === 'zero bytes')?.count).toBe(
      bytes.filter((byte) => byte === 0).length,
    )
  })

  test.each([
    ['a JSON number', '42'],
    ['a JSON list of words', '["a","b","a"]'],
    ['a JSON object of lists of words', '{"a":[1,2,3],"b":["x"],"c":"y"}'],
    ['an empty object', '{}'],
    ['a list of empty objects', '[{},{},{}]'],
    ['records without anything in common', '[{"a":1},{"b":2},{"c":3}]'],
    ['broken JSON', '{"a": '],
    ['one line', 'hello'],
    ['prose with commas', 'Well, yes.\nOh, no.\n'],
    ['a byte order mark', '\uFEFFcategory,b\nx,1\ny,2\n'],
    ['controls in labels', '[{"category":"a\\u0000\\u0007b\\nc"},{"category":"\\ud83d"}]'],
    ['only a header', 'a,b,c\n'],
    ['names like parts of objects', '[{"constructor":"x","__proto__":"y","category":"z"}]'],
  ])('%s', async (_name, text) => {
    const loop = await analyse({ 'odd file (1).json': text })
    expect(loop.failed.length).toBeLessThanOrEqual(1)
    expect(loop.answer).toContain('`odd file (1).json`')
    expect(loop.answer).toContain(`**${n(Buffer.byteLength(text))} bytes**`)
    expect(loop.answer).not.toMatch(/undefined|NaN|I could not finish/)
    expect(loop.csv).toMatch(/^count,percent,group\n/)
    expectXml(loop.svg)
  })

  test('a file of 5 MB', { timeout: 30_000 }, async () => {
    const line = (index: number) =>
      `${index},${['red', 'green', 'blue'][index % 3]},"some longer text, to fill the row up ${index}"`
    const text = `id,colour,note\n${Array.from({ length: 90_000 }, (_, index) => line(index)).join('\n')}\n`
    expect(text.length).toBeGreaterThan(5_000_000)
    const loop = await analyse({ 'big.csv': text })
    expect(loop.answer).toContain('**90,000 records**')
    expect(loop.answer).toContain('By `colour`: **3 groups**. The largest is **`blue` with 30,000**')
    // The repair chose a field that divides well; the guess itself is nowhere near any name.
    expect(loop.failed).toHaveLength(1)
    for (const { result } of loop.steps) expect(result.length).toBeLessThan(20_000)
  })

  test('programs run as CommonJS too', async () => {
    const loop = await analyse({ 'package-lock.json': await lockfile() }, { extension: 'cjs' })
    expect(loop.failed).toHaveLength(1)
    expect(loop.answer).toContain('By `license`')
  })

  test('more files than one: the first is looked at, and the answer says so', async () => {
    const loop = await analyse({ 'one.txt': 'some words here', 'two.txt': 'x', 'three.txt': 'y' })
    expect(loop.answer).toContain('`one.txt`')
    expect(loop.answer).toContain('2 more came with the request')
  })

  test('the plan names the file', () => {
    const messages: ScriptRequest['messages'] = [
      {
        role: 'user',
        content: [
          { type: 'text', text: PROMPT },
          { type: 'text', text: 'Files:\ninputs/my data.csv (12 bytes)' },
        ],
      },
    ]
    const { call } = respond({ messages, tools: [{ name: 'submit_plan' }] })
    const { goal, phases } = (call?.input ?? {}) as {
      goal: string
      phases: { phase_number: number; dependencies: number[] }[]
    }
    expect(call?.name).toBe('submit_plan')
    expect(goal).toContain('my data.csv')
    expect(phases.map(({ phase_number }) => phase_number)).toEqual([1, 2, 3])
    expect(phases.map(({ dependencies }) => dependencies)).toEqual([[], [1], [2]])
  })
})

describe('tools that fail', () => {
  test.each(['code', 'shell'])('%s lost twice: the call is made again', async (tool) => {
    const loop = await analyse(
      { 'list.json': '[{"category":"a"}]' },
      {
        disturb: (name, count) =>
          name === tool && count < 2 ? 'The tool was lost: its runner ended without a result.' : undefined,
      },
    )
    expect(loop.failed).toHaveLength(2)
    expect(loop.answer).toContain('By `category`')
  })

  test('killed in the middle of the repair', async () => {
    const loop = await analyse(
      { 'package-lock.json': await lockfile() },
      { disturb: (name, count) => (name === 'code' && count === 2 ? 'Killed: out of memory' : undefined) },
    )
    expect(loop.failed).toHaveLength(2)
    expect(loop.answer).toContain('By `license`')
  })

  test.each(['code', 'shell'])('%s always failing: three tries, then an honest answer', async (tool) => {
    const loop = await analyse(
      { 'list.json': '[{"category":"a"}]' },
      {
        disturb: (name) =>
          name === tool
            ? 'Exit code 137\n{"stdout":"","stderr":"no such interpreter","exit_code":137}'
            : undefined,
      },
    )
    expect(loop.failed).toHaveLength(3)
    expect(loop.answer).toContain('I could not finish')
    expect(loop.answer).toContain('no such interpreter')
  })

  test('a result that was cut in the middle is still understood', async () => {
    const text = await lockfile()
    const whole = await analyse({ 'package-lock.json': text })
    const messages = structuredClone(whole.messages.slice(0, 7))
    const last = messages.at(-1)?.content[0]
    if (last?.type !== 'tool_result') throw new Error('expected a result')
    expect(last.content).toContain('the fields are')
    last.content = `${last.content.slice(0, -120)}\n[… 9000 bytes left out …]\n${last.content.slice(-20)}`
    const { call } = respond({ messages, tools: [{ name: 'code' }] })
    expect(call?.input.code).toContain('const FIELD = "license"')
  })
})

describe('other prompts', () => {
  test('measured by a program, and said plainly', async () => {
    const prompt = 'What is the meaning of life?\nTell me "quickly", with `code` and $x.'
    const loop = await runLoop({ prompt, ask })
    done.push(loop)
    expect(names(loop)).toEqual(['code'])
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(prompt))
    expect(loop.answer).toContain(Buffer.from(digest).toString('hex'))
    expect(loop.answer).toContain(`**13 words, ${prompt.length} characters, 2 lines**`)
    expect(loop.answer).toContain('scripted model')
    expect(loop.answer).toContain('ANTHROPIC_API_KEY')
  })

  test('a very long prompt', async () => {
    const loop = await runLoop({ prompt: 'word '.repeat(20_000), ask })
    done.push(loop)
    expect(loop.answer).toContain('its first 4,000 characters')
  })

  test('a request without any tool it knows', () => {
    const { text, call } = respond({ messages: [], tools: [] })
    expect(call).toBeUndefined()
    expect(text).toContain('scripted model')
  })
})

describe('languages', () => {
  test.each([
    [
      'de',
      'Bitte schau dir die Datei an: was ist darin und was fällt auf?',
      'Skript-Modell',
      'de-DE',
      'Datensätze nach category',
    ],
    [
      'fr',
      "Regarde le fichier : qu'est-ce qu'il contient et que faut-il savoir ? Donne une réponse avec les chiffres.",
      'modèle scripté',
      'fr-FR',
      'Enregistrements par category',
    ],
    [
      'it',
      'Guarda il file che ti mando: che cosa contiene e che cosa è strano? Con i numeri per favore.',
      'modello a copione',
      'it-IT',
      'Record per category',
    ],
  ])('%s', async (_language, prompt, said, locale, title) => {
    const records = Array.from({ length: 12_345 }, (_, index) => ({ category: index % 2 }))
    const loop = await analyse({ 'x.json': JSON.stringify(records) }, { prompt })
    expect(loop.answer).toContain(said)
    expect(loop.answer).toContain(`**${n(12_345, locale)}`)
    expect(loop.svg).toContain(title)
    expect(loop.failed).toEqual([])
    const small = respond({
      messages: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
      tools: [{ name: 'submit_plan' }],
    })
    expect(small.call?.input.phases).toHaveLength(1)
  })
})
