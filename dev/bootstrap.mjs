// What `npm start` and `npm test` run first, on any Node >= 20 and with an empty node_modules: installs the locked
// packages if they are not there, then hands over to Node 24 (a package in the lockfile) with the real program.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { waitForLock } from './lock.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const programs = {
  start: 'dev/start.ts',
  test: 'dev/test.ts',
  build: 'dev/build.ts',
  bench: 'bench/main.ts',
  secrets: 'knative/deploy/setup-secrets.ts',
  deploy: 'knative/deploy/deploy.ts',
  contract: 'test/contract/main.ts',
  model: 'test/model/main.ts',
  sim: 'test/sim/main.ts',
  crash: 'test/crash/main.ts',
  chaos: 'test/chaos/main.ts',
  mutations: 'test/mutations/main.ts',
  cluster: 'test/cluster/main.ts',
}
/** An install takes 20 s to 2 min; a waiting second command should outlast a slow one. */
const INSTALL_WAIT_MS = 10 * 60_000

class Refusal extends Error {}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

/** npm writes node_modules/.package-lock.json last, so an interrupted install has none. */
export function isInstalled(folder) {
  const wanted = readJson(join(folder, 'package-lock.json'))?.packages
  const present = readJson(join(folder, 'node_modules/.package-lock.json'))?.packages
  if (!wanted || !present) return false
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true
    const found = present[path]
    if (!found) return entry.optional === true // another platform's binary
    return found.version === entry.version && found.integrity === entry.integrity
  })
}

function checkWritable() {
  try {
    accessSync(root, constants.W_OK)
    mkdirSync(join(root, '.local'), { recursive: true })
    const probe = join(root, `.local/writable-${process.pid}`)
    writeFileSync(probe, 'x'.repeat(4096)) // a full disk still lets empty files be made
    rmSync(probe)
  } catch (error) {
    throw new Refusal(refusalFor(error.code, String(error.message)))
  }
}

function refusalFor(code, text) {
  const says = (...words) => words.some((word) => code === word || text.includes(word))
  if (says('ENOSPC', 'EDQUOT'))
    return `There is no disk space left for ${root}: free at least 1 GB and run this again.`
  if (says('EROFS'))
    return `${root} is on a read-only file system: copy the repository to a folder you can write to.`
  if (says('EACCES', 'EPERM'))
    return `${root} is not writable for this user: change its owner (chown -R) or clone it again as this user.`
  if (
    says('ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ETIMEDOUT', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH')
  ) {
    return 'The npm registry cannot be reached: check the network, or name a mirror with `npm config set registry <url>`, and run this again.'
  }
  return null
}

function npmCommand() {
  const cli = process.env.npm_execpath
  return cli && /\.[cm]?js$/.test(cli) && existsSync(cli) ? [process.execPath, cli] : ['npm']
}

/** `--loglevel=error` hides the EBADENGINE warnings: npm itself runs on the host's Node, our programs do not. */
const installArgs = [
  'ci',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--prefer-offline',
  '--loglevel=error',
  '--progress=false',
  '--fetch-retries=2',
  '--fetch-retry-mintimeout=1000',
  '--fetch-retry-maxtimeout=5000',
]

async function install() {
  const [command, ...before] = npmCommand()
  const started = Date.now()
  const seconds = () => Math.round((Date.now() - started) / 1000)
  const live = process.stderr.isTTY === true
  const line = (text) => process.stderr.write(live ? `\r\x1b[2K${text}` : `${text}\n`)
  line('Installing the packages of package-lock.json (once, about a minute)…')
  const ticker = live
    ? setInterval(() => line(`Installing the packages of package-lock.json… ${seconds()} s`), 1000)
    : null
  const child = spawn(command, [...before, ...installArgs], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  const keep = (chunk) => {
    said = (said + chunk).slice(-8000)
  }
  child.stdout.setEncoding('utf8').on('data', keep)
  child.stderr.setEncoding('utf8').on('data', keep)
  const stop = (signal) => child.kill(signal)
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve(code ?? signal))
  }).finally(() => {
    if (ticker) clearInterval(ticker)
    if (live) line('')
    process.off('SIGINT', stop).off('SIGTERM', stop)
  })
  if (status === 'SIGINT' || status === 'SIGTERM')
    throw new Refusal('The installation was interrupted; run this again to repeat it.')
  if (status !== 0) {
    const code = /npm error code (\S+)/.exec(said)?.[1] ?? ''
    const sentence = refusalFor(code, said)
    if (sentence) throw new Refusal(sentence)
    throw new Refusal(
      `npm ci failed (${status}); the last it said:\n${said.trim().split('\n').slice(-8).join('\n')}`,
    )
  }
  process.stderr.write(`Installed in ${seconds()} s.\n`)
}

async function ensureInstalled() {
  if (isInstalled(root)) return
  checkWritable()
  const lock = await waitForLock(join(root, '.local/install.lock'), {
    maxWaitMs: INSTALL_WAIT_MS,
    onWait: ({ pid }) => process.stderr.write(`Process ${pid} is installing the packages; waiting for it…\n`),
  })
  try {
    if (!isInstalled(root)) await install()
  } finally {
    lock.release()
  }
}

/** Node 24 from the lockfile where npm has one for this machine, else the host's if it runs TypeScript without a flag. */
function runtimes() {
  const packaged = join(root, `node_modules/node-${process.platform}-${process.arch}/bin/node`)
  const [major, minor] = process.versions.node.split('.').map(Number)
  const hostIsEnough = major > 22 || (major === 22 && minor >= 19)
  return [...(existsSync(packaged) ? [packaged] : []), ...(hostIsEnough ? [process.execPath] : [])]
}

function signalNumber(signal) {
  return { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal] ?? 9
}

/** Resolves with the exit status, or null when this Node cannot be executed here (a glibc binary on musl, say). */
function handOver(node, program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, program), ...args], {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'], // the channel tells the program when this process dies
    })
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, () => child.kill(signal))
    child.on('error', (error) =>
      ['ENOENT', 'EACCES', 'ENOEXEC'].includes(error.code) ? resolve(null) : reject(error),
    )
    child.on('exit', (code, signal) => resolve(code ?? 128 + signalNumber(signal)))
  })
}

async function main([name, ...args]) {
  const program = Object.hasOwn(programs, name ?? '') ? programs[name] : undefined
  if (!program)
    throw new Refusal(`Usage: node dev/bootstrap.mjs ${Object.keys(programs).join('|')} [arguments]`)
  if (name === 'start' && args.some((arg) => arg === '--help' || arg === '-h')) {
    process.stdout.write(readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'cli/help.txt'), 'utf8'))
    return 0
  }
  const [major] = process.versions.node.split('.').map(Number)
  if (major < 20)
    throw new Refusal(
      `This is Node ${process.versions.node}; install Node 20 or newer (https://nodejs.org) and run this again.`,
    )
  await ensureInstalled()
  for (const node of runtimes()) {
    const status = await handOver(node, program, args)
    if (status !== null) return status
  }
  throw new Refusal(
    `There is no Node 24 package for ${process.platform}-${process.arch} that runs here, and this is Node ${process.versions.node}: install Node 22.19 or newer and run this again.`,
  )
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  main(process.argv.slice(2)).then(
    (status) => process.exit(status),
    (error) => {
      process.stderr.write(`${error instanceof Refusal ? error.message : error.stack}\n`)
      process.exit(1)
    },
  )
}
