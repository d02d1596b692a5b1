import { readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { ApiError } from './cli/api.ts'
import { signInDemoUser } from './cli/demo-user.ts'
import { explain } from './cli/explain.ts'
import { formatMs } from './cli/format.ts'
import { type Arguments, parseArguments, UsageError } from './cli/parse-arguments.ts'
import { runOnce } from './cli/run-once.ts'
import { createScreen, type Screen } from './cli/screen.ts'
import { onStopSignals } from './cli/stop-signals.ts'
import { tryNext } from './cli/try-next.ts'
import { readInput } from './cli/upload-files.ts'
import { type Stack, startStack } from './stack.ts'

const root = resolve(import.meta.dirname, '..')
const DEFAULT_FILE = join(root, 'package-lock.json')
const DEFAULT_PROMPT =
  'Analyse the attached file: find out what is worth knowing about it and compute it with code. Write the result as a table (CSV) and as a chart (SVG), check the table, and answer with the most important numbers.'

process.exitCode = await main()
// Everything is closed; a socket that some library keeps must not keep us.
process.exit()

async function main(): Promise<number> {
  let args: Arguments
  try {
    args = parseArguments(process.argv.slice(2))
    if (args.help) {
      process.stdout.write(readFileSync(join(import.meta.dirname, 'cli/help.txt'), 'utf8'))
      return 0
    }
    for (const file of args.files) await readInput(file) // before anything is started
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return error instanceof UsageError ? 2 : 1
  }
  return run(args)
}

async function run(args: Arguments): Promise<number> {
  const screen = createScreen({ json: args.json })
  const stopping = new AbortController()
  let stack: Stack | undefined
  onStopSignals({
    stop: (reason) => stopping.abort(new Error(reason)),
    force: () => {
      stack?.kill()
      process.exit(1)
    },
  })
  // A reader that went away (`| head`) ends us like Ctrl-C.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', () => stopping.abort(new Error('output closed')))
  try {
    const started = Date.now()
    stack = await startStack({
      root,
      dir: join(root, '.local'),
      port: args.port,
      fresh: args.fresh,
      unsafeTools: args.unsafeTools,
      log: screen.log,
      signal: stopping.signal,
    })
    stack.on('scale', ({ function: name, from, to, ms, reason }) => {
      screen.emit('scale', { function: name, from, to, ms, reason })
      const arrow = `${name} ${from} → ${to}`
      screen.print(
        screen.style.blue(
          to > from ? `  ${arrow} (${formatMs(ms)})` : `  ${arrow}${reason === 'died' ? ' (died)' : ''}`,
        ),
      )
    })
    screen.print(
      `${screen.style.bold('agent-functions')} at ${screen.style.bold(stack.origin)} ${screen.style.dim(`(up in ${formatMs(Date.now() - started)}, loopback only, for development)`)}`,
    )
    for (const notice of stack.notices) screen.print(screen.style.yellow(notice))
    screen.emit('stack', { origin: stack.origin, notices: stack.notices })
    const status = await useStack(stack, args, screen, stopping.signal)
    if (args.exit) return status
    await waitFor(stopping.signal)
    return 0
  } catch (error) {
    screen.end()
    if (stopping.signal.aborted) return stack === undefined || args.exit ? 130 : 0
    screen.print(screen.style.red(explain(error)))
    return 1
  } finally {
    screen.end()
    if (stack) {
      if (!args.exit) screen.print('', screen.style.dim('Stopping…'))
      await stack.close()
    }
  }
}

/** Everything that is done with a running stack; resolves with the exit status for --exit. */
async function useStack(stack: Stack, args: Arguments, screen: Screen, signal: AbortSignal): Promise<number> {
  const { style } = screen
  const user = await signInDemoUser(stack.env)
  const earlier = await user.supabase.from('agent_runs').select('id', { count: 'exact', head: true })
  const count = earlier.count ?? 0
  if (count > 0)
    screen.print(
      style.dim(
        `${count} earlier ${count === 1 ? 'run is' : 'runs are'} in the database (--fresh starts empty)`,
      ),
    )
  let status = 0
  let runId: string | undefined
  if (args.run) {
    const prompt = args.prompt ?? DEFAULT_PROMPT
    const files = args.files.length > 0 || args.prompt !== undefined ? args.files : [DEFAULT_FILE]
    screen.print(
      '',
      `${style.bold('Prompt')} ${prompt}`,
      ...files.map((file) => `${style.bold('File')} ${show(file)}`),
    )
    try {
      const api = { origin: stack.origin, token: user.token, signal }
      const result = await runOnce(api, user, screen, {
        prompt,
        files,
        artifactDir: join(stack.dir, 'artifacts'),
        stopWaiting: args.exit,
      })
      runId = result.runId
      status = result.status === 'completed' ? 0 : 1
      screen.emit('end', { run_id: runId, status: result.status, saved: result.saved })
      if (result.saved.length > 0)
        screen.print('', style.bold('Files'), ...result.saved.map((path) => `  ${show(path)}`))
      if (status !== 0)
        screen.print(
          '',
          `What happened is in ${show(join(stack.dir, 'logs'))}; running this again starts a new run.`,
        )
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      screen.print(style.red(`The API refused: ${error.message}`))
      status = 1
    }
  }
  if (!args.exit && !args.json) {
    const lines = tryNext({ envFile: show(join(stack.dir, 'env')), runId })
    screen.print(
      '',
      style.bold('Try next (in another terminal, in this folder)'),
      ...lines.map((line) => `  ${line}`),
      '',
      `API docs  ${stack.origin}/docs`,
      'Database  psql "$DATABASE_URL" (from .local/env)',
      `Local data, logs and files are in ${show(stack.dir)}. Ctrl-C stops everything.`,
    )
  }
  return status
}

/** A path as the user would type it here. */
function show(path: string): string {
  const short = relative(process.cwd(), path)
  return short.startsWith('..') ? path : `./${short}`
}

function waitFor(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done()
    else signal.addEventListener('abort', () => done(), { once: true })
    // Nothing else may be left to keep the process up while all functions are at zero.
    const keep = setInterval(() => {}, 60_000)
    signal.addEventListener('abort', () => clearInterval(keep), { once: true })
  })
}
