import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildFunctions, type Entry } from './build.ts'

let root: string
const entries: Entry[] = [
  { name: 'one', source: 'functions/one.ts' },
  { name: 'alone', source: 'functions/one.ts', isAlone: true },
]
const build = () => buildFunctions({ root, entries })
const write = (path: string, text: string) => writeFileSync(join(root, path), text)
const run = (name: string) => execFileSync(process.execPath, [join(root, 'dist', name)], { encoding: 'utf8' })
const chunks = () => readdirSync(join(root, 'dist/chunks'))

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'build-'))
  mkdirSync(join(root, 'functions'))
  mkdirSync(join(root, 'shared'))
  symlinkSync(resolve('node_modules'), join(root, 'node_modules'))
  write('package.json', '{"version": "1.2.3", "type": "module"}')
  write('package-lock.json', '{}')
  write('shared/lazy.ts', 'export const word: string = "lazy 1"')
  write(
    'functions/one.ts',
    `import { z } from 'zod'
     import pino from 'pino'
     import manifest from '../package.json' with { type: 'json' }
     const { word } = await import('../shared/lazy.ts')
     const log = pino({ base: null, timestamp: false }, pino.destination({ sync: true }))
     log.info({ version: manifest.version, word, ok: z.string().safeParse('x').success })`,
  )
})
afterEach(() => rmSync(root, { recursive: true }))

test('bundles run without node_modules, know the version, and keep lazy imports apart', async () => {
  expect(await build()).toMatchObject({ built: true })
  rmSync(join(root, 'node_modules'))
  const said = { level: 30, version: '1.2.3', word: 'lazy 1', ok: true }
  expect(JSON.parse(run('one.mjs'))).toEqual(said)
  expect(chunks().some((name) => name.startsWith('lazy-'))).toBe(true)
  const alone = mkdtempSync(join(root, 'elsewhere-'))
  writeFileSync(join(alone, 'x.mjs'), readFileSync(join(root, 'dist/alone.mjs')))
  expect(JSON.parse(execFileSync(process.execPath, [join(alone, 'x.mjs')], { encoding: 'utf8' }))).toEqual(
    said,
  )
  expect(readdirSync(join(root, 'dist/assets')).toSorted()).toEqual([
    'swagger-ui-bundle.js',
    'swagger-ui.css',
  ])
})

test('builds again only when an input changed, and keeps the chunks of the build before', async () => {
  await build()
  const first = chunks()
  expect(await build()).toMatchObject({ built: false })
  write('shared/lazy.ts', 'export const word: string = "lazy 2"')
  expect(await build()).toMatchObject({ built: true })
  expect(JSON.parse(run('one.mjs'))).toMatchObject({ word: 'lazy 2' })
  expect(chunks()).toEqual(expect.arrayContaining(first))
  expect(chunks().length).toBeGreaterThan(first.length)
  write('shared/lazy.ts', 'export const word: string = "lazy 3"')
  await build()
  const gone = first.filter((name) => name.startsWith('lazy-'))
  expect(chunks()).not.toEqual(expect.arrayContaining(gone))
  expect(readdirSync(join(root, 'dist')).filter((name) => name.startsWith('.draft'))).toEqual([])
})

test('two builds at once do the work once', async () => {
  const results = await Promise.all([build(), build()])
  expect(results.map(({ built }) => built).toSorted()).toEqual([false, true])
})

test('a source that cannot be bundled fails and leaves the build before in place', async () => {
  await build()
  write('functions/one.ts', 'import "./missing.ts"')
  await expect(build()).rejects.toThrow(/missing/)
  expect(JSON.parse(run('one.mjs'))).toMatchObject({ word: 'lazy 1' })
})
