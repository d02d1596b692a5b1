import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { waitForLock } from './lock.mjs'

const repository = resolve(import.meta.dirname, '..')
/** Of swagger-ui-dist: all that an offline docs page needs. */
const ASSETS = ['swagger-ui-bundle.js', 'swagger-ui.css']
/** A build takes 2 to 10 s; another process's build is waited for this long. */
const BUILD_WAIT_MS = 120_000
const STAMP = '.stamp'

export interface Entry {
  /** Of `<name>.mjs`. */
  name: string
  /** Path of the source, relative to the root. */
  source: string
  /** Everything in one file: for what is mounted alone into a job. */
  isAlone?: boolean
}

export const entries: readonly Entry[] = [
  ...['execute', 'status', 'logs', 'step'].map((name) => ({ name, source: `functions/${name}/index.ts` })),
  { name: 'index', source: 'functions/index.ts' },
  { name: 'runner', source: 'shared/runner/main.ts', isAlone: true },
  { name: 'executor', source: 'shared/runner/executor.ts', isAlone: true },
]

export interface BuildOptions {
  /** Repository to build; the default is this one. */
  root?: string
  /** Default `<root>/dist`. */
  outDir?: string
  entries?: readonly Entry[]
  /** Folders whose files decide whether a build is up to date. */
  sources?: readonly string[]
  onWait?: (pid: number) => void
}

/**
 * Bundles every entry to `<outDir>/<name>.mjs`, what is imported lazily to `<outDir>/chunks/`, and the docs page's assets to
 * `<outDir>/assets/`. Does nothing when no input changed. Safe beside running functions and a second build: a chunk's name holds its
 * hash and goes in before the entry that names it, entries are replaced by rename, and the chunks of the build before stay, because
 * processes of that build may not have imported them yet.
 */
export async function buildFunctions(
  options: BuildOptions = {},
): Promise<{ built: boolean; outDir: string }> {
  const root = options.root ?? repository
  const outDir = options.outDir ?? join(root, 'dist')
  const wanted = options.entries ?? entries
  const stamp = await stampOf(root, wanted, options.sources ?? ['functions', 'shared'])
  if (await isUpToDate(outDir, stamp, wanted)) return { built: false, outDir }
  const lock = await waitForLock(join(root, '.local/build.lock'), {
    maxWaitMs: BUILD_WAIT_MS,
    onWait: ({ pid }) => options.onWait?.(pid),
  })
  try {
    if (await isUpToDate(outDir, stamp, wanted)) return { built: false, outDir }
    await mkdir(outDir, { recursive: true })
    const draft = await mkdtemp(join(outDir, '.draft-'))
    try {
      const bundles = wanted.map((entry) => bundle(root, entry, draft))
      await Promise.allSettled(bundles) // after a fault the others still write to the draft for a moment
      await Promise.all(bundles)
      await copyAssets(draft)
      await publish(draft, outDir, stamp)
    } finally {
      await rm(draft, { recursive: true, force: true })
    }
    return { built: true, outDir }
  } finally {
    lock.release()
  }
}

async function bundle(root: string, entry: Entry, outDir: string): Promise<void> {
  const { rolldown } = await import('rolldown') // 100 ms of native code that an up-to-date build does not need
  const build = await rolldown({
    cwd: root,
    input: { [entry.name]: join(root, entry.source) },
    platform: 'node',
    logLevel: 'warn',
    onLog: (level, log, handle) => {
      // Of dependencies' own making; nothing a reader here could do about them.
      if (level === 'warn' && log.id?.includes('node_modules')) return
      handle(level, log)
    },
  })
  try {
    await build.write({
      dir: outDir,
      format: 'esm',
      minify: true,
      entryFileNames: '[name].mjs',
      chunkFileNames: 'chunks/[name]-[hash].mjs',
      ...(entry.isAlone ? { codeSplitting: false } : {}),
    })
  } finally {
    await build.close()
  }
}

async function copyAssets(outDir: string): Promise<void> {
  const from = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  await mkdir(join(outDir, 'assets'), { recursive: true })
  await Promise.all(ASSETS.map((name) => copyFile(join(from, name), join(outDir, 'assets', name))))
}

/** Chunks and assets first, entries next, the stamp last: whoever dies in between leaves a build that works and is made again. */
async function publish(draft: string, outDir: string, stamp: string): Promise<void> {
  const files = await filesBelow(draft)
  const before = await readFile(join(outDir, STAMP), 'utf8').catch(() => '')
  const kept = new Set([...files, ...before.split('\n').slice(1), STAMP])
  const isEntry = (path: string) => !path.includes('/')
  for (const path of files.toSorted((a, b) => Number(isEntry(a)) - Number(isEntry(b)))) {
    await mkdir(dirname(join(outDir, path)), { recursive: true })
    await rename(join(draft, path), join(outDir, path))
  }
  await rm(draft, { recursive: true, force: true })
  for (const path of await filesBelow(outDir)) {
    if (!kept.has(path)) await rm(join(outDir, path), { force: true })
  }
  await writeFile(`${join(outDir, STAMP)}.new`, [stamp, ...files].join('\n'))
  await rename(`${join(outDir, STAMP)}.new`, join(outDir, STAMP))
}

async function isUpToDate(outDir: string, stamp: string, wanted: readonly Entry[]): Promise<boolean> {
  const text = await readFile(join(outDir, STAMP), 'utf8').catch(() => '')
  if (text.split('\n', 1)[0] !== stamp) return false
  return wanted.every(({ name }) => existsSync(join(outDir, `${name}.mjs`)))
}

/** A hash over the names and bytes of all inputs, this file included. */
async function stampOf(root: string, wanted: readonly Entry[], sources: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(wanted))
  const files = await Promise.all(sources.map(async (folder) => filesBelow(join(root, folder), root)))
  const inputs = [
    ...files.flat().filter((path) => !path.endsWith('.test.ts')),
    'package.json',
    'package-lock.json',
  ].toSorted((a, b) => (a < b ? -1 : 1))
  const contents = await Promise.all(
    [...inputs.map((path) => join(root, path)), import.meta.filename].map((path) => readFile(path)),
  )
  for (const [index, content] of contents.entries())
    hash.update(`\0${inputs[index] ?? ''}\0${content.length}\0`).update(content)
  return hash.digest('hex')
}

async function filesBelow(folder: string, from = folder): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(from, join(entry.parentPath, entry.name)))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = Date.now()
  const { built, outDir } = await buildFunctions({
    onWait: (pid) => console.error(`Process ${pid} is building; waiting for it…`),
  })
  console.log(built ? `Built ${outDir} in ${Date.now() - started} ms` : `${outDir} is up to date`)
  const { buildClient } = await import('./client/build-client.ts')
  console.log(`Built ${(await buildClient()).outDir}`)
}
