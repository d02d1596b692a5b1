import { describe, expect, test } from 'vitest'
import { parseCron } from './cron.ts'
import { parseDurationMs } from './duration.ts'
import { parseExpression } from './expression.ts'
import { retryWaitMs } from './retry.ts'

describe('durations', () => {
  test.each([
    ['50s', 50_000],
    ['1d10h30m', 124_200_000],
    ['6m5s', 365_000],
    ['0', 0],
    ['7', 7000],
    ['250ms', 250],
    ['1.5s', 1500],
  ])('%s', (text, ms) => expect(parseDurationMs(text)).toBe(ms))
  test.each(['', 's', '-5s', '5 s', '5x', '1e9', 'Infinity', '5s;6s', '9'.repeat(40)])(
    'refuses %j',
    (text) => {
      expect(parseDurationMs(text)).toBeNull()
    },
  )
})

describe('retry delay expressions', () => {
  test.each([
    ['1000', 3, 1000],
    ['1000 * pow(2, retried)', 3, 8000],
    ['min(30000, 500*pow(2,retried))', 9, 30_000],
    ['max(1, 2, 3) - -4', 0, 7],
    ['(1 + retried) * 2 / 4', 1, 1],
    ['round(exp(1)) + floor(2.9) + ceil(0.1) + abs(-5) + sqrt(16)', 0, 15],
    ['2 - 1 - 1', 0, 0],
    ['8 / 2 / 2', 0, 2],
    ['((((retried))))', 5, 5],
  ])('%s', (source, retried, value) => expect(parseExpression(source)(retried)).toBe(value))

  test.each([
    '',
    ' ',
    '1 +',
    '(1',
    '1)',
    'pow(1)',
    'pow(1,2,3)',
    'process.exit()',
    'constructor(1)',
    '__proto__',
    'retried()',
    'Math.max(1)',
    '1;2',
    '1 2',
    '"1"',
    '`1`',
    '1 ** 2',
    'min()',
    `${'('.repeat(60)}1${')'.repeat(60)}`,
    `${'-'.repeat(200)}1`,
    '1+'.repeat(200),
  ])('refuses %j', (source) => expect(() => parseExpression(source)).toThrow())
})

describe('waiting for a retry', () => {
  const wait = (header: Record<string, string[]>, retryDelay: string | null = null, retried = 0) =>
    retryWaitMs({ header, retryDelay, retried, nowMs: Date.parse('2026-01-01T00:00:00Z') })
  test.each([
    [{ 'retry-after': ['5'] }, 5000],
    [{ 'retry-after': ['0'] }, 0],
    [{ 'retry-after': ['Thu, 01 Jan 2026 00:00:09 GMT'] }, 9000],
    [{ 'retry-after': ['Thu, 01 Jan 2020 00:00:00 GMT'] }, 0],
    [{ 'retry-after': ['99999999'] }, 86_400_000],
    [{ 'x-ratelimit-reset-tokens': ['6m5s'] }, 365_000],
    [{ 'retry-after': ['soon'], 'x-ratelimit-reset': ['3'] }, 3000],
    [{ 'retry-after': ['-5'] }, 777],
  ] as [Record<string, string[]>, number][])('%j', (header, ms) => expect(wait(header, '777')).toBe(ms))

  test('the default is e^(2.5 n) seconds up to a day', () => {
    expect([0, 1, 2, 3, 4].map((n) => Math.round(wait({}, null, n) / 1000))).toEqual([
      12, 148, 1808, 22_026, 86_400,
    ])
  })
  test('an expression that runs away is capped, one without a value falls back', () => {
    expect(wait({}, 'pow(10, 999)')).toBe(86_400_000)
    expect(wait({}, '0 - 5')).toBe(0)
    expect(wait({}, '0 / 0')).toBe(wait({}))
  })
})

describe('cron', () => {
  const next = (source: string, after: string) => {
    const ms = parseCron(source).next(Date.parse(after))
    return ms === null ? null : new Date(ms).toISOString()
  }
  test.each([
    ['* * * * *', '2026-01-01T00:00:30Z', '2026-01-01T00:01:00.000Z'],
    ['*/15 * * * *', '2026-01-01T00:15:00Z', '2026-01-01T00:30:00.000Z'],
    ['0 9 * * 1-5', '2026-01-02T10:00:00Z', '2026-01-05T09:00:00.000Z'],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T00:00:00.000Z'],
    ['5,35 8-10/2 1 jan,JUL *', '2026-01-01T10:35:00Z', '2026-07-01T08:05:00.000Z'],
    ['0 0 13 * fri', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00.000Z'],
    ['0 0 * * 7', '2026-01-01T00:00:00Z', '2026-01-04T00:00:00.000Z'],
    ['@daily', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00.000Z'],
    ['CRON_TZ=Europe/Zurich 0 8 * * *', '2026-07-01T00:00:00Z', '2026-07-01T06:00:00.000Z'],
    ['CRON_TZ=Europe/Zurich 0 8 * * *', '2026-01-01T00:00:00Z', '2026-01-01T07:00:00.000Z'],
    ['CRON_TZ=Asia/Kolkata 30 9 * * *', '2026-01-01T00:00:00Z', '2026-01-01T04:00:00.000Z'],
    ['0 0 31 2 *', '2026-01-01T00:00:00Z', null],
  ])('%s', (source, after, expected) => expect(next(source, after)).toBe(expected))
  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '*/0 * * * *',
    '5-1 * * * *',
    'a * * * *',
    '1-2-3 * * * *',
    'CRON_TZ=Mars/Base * * * * *',
  ])('refuses %j', (source) => expect(() => parseCron(source)).toThrow())
})
