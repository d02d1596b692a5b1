import { expect, test } from 'vitest'
import { parseArguments, UsageError } from './parse-arguments.ts'

test('nothing given is the demo on port 8000', () => {
  expect(parseArguments([])).toEqual({
    prompt: undefined,
    files: [],
    port: 8000,
    exit: false,
    json: false,
    run: true,
    fresh: false,
    unsafeTools: false,
    help: false,
  })
})

test('reads every option, words of an unquoted prompt included', () => {
  const argv = [
    '--file',
    'a.csv',
    'count',
    'the',
    '--file=b.csv',
    'lines',
    '--port',
    '0',
    '--exit',
    '--json',
    '--fresh',
    '--unsafe-tools',
  ]
  expect(parseArguments(argv)).toMatchObject({
    prompt: 'count the lines',
    files: ['a.csv', 'b.csv'],
    port: 0,
    exit: true,
    json: true,
    fresh: true,
    unsafeTools: true,
  })
  expect(parseArguments(['--', '--exit']).prompt).toBe('--exit')
})

test.each([
  [['--nope'], /^Unknown option '--nope'.*--help/],
  [['--port', 'x'], /--port must be a number/],
  [['--port', '70000'], /--port must be a number/],
  [['--port', '-1'], /--help/],
  [['--port'], /argument missing.*--help/],
  [['--exit=yes'], /does not take an argument.*--help/],
  [[' '], /prompt is empty/],
  [['--no-run', 'x'], /--no-run starts no run/],
  [['--no-run', '--exit'], /would do nothing/],
])('%j is refused with one sentence', (argv, message) => {
  expect(() => parseArguments(argv)).toThrow(UsageError)
  expect(() => parseArguments(argv)).toThrow(message)
})
