import { parseArgs } from 'node:util'

export interface Arguments {
  /** Undefined: the default one. */
  prompt: string | undefined
  files: string[]
  /** 0: any free one. */
  port: number
  exit: boolean
  json: boolean
  run: boolean
  fresh: boolean
  unsafeTools: boolean
  help: boolean
}

/** A mistake on the command line; the message is one sentence for the user. Exit status 2. */
export class UsageError extends Error {}

export const DEFAULT_PORT = 8000

export function parseArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv)
  const port = values.port === undefined ? DEFAULT_PORT : Number(values.port)
  if (!/^\d+$/.test(values.port ?? '0') || port > 65_535) {
    throw new UsageError(`--port must be a number from 0 to 65535, not "${values.port ?? ''}".`)
  }
  const prompt = positionals.length > 0 ? positionals.join(' ').trim() : undefined
  if (prompt === '')
    throw new UsageError('The prompt is empty: say what the agent should do, or leave it out for the demo.')
  const { 'no-run': noRun = false, exit = false } = values
  if (noRun && (prompt !== undefined || values.file !== undefined)) {
    throw new UsageError('--no-run starts no run: leave it out, or leave out the prompt and --file.')
  }
  if (noRun && exit) throw new UsageError('--no-run and --exit together would do nothing: leave one out.')
  return {
    prompt,
    files: values.file ?? [],
    port,
    exit,
    json: values.json ?? false,
    run: !noRun,
    fresh: values.fresh ?? false,
    unsafeTools: values['unsafe-tools'] ?? false,
    help: values.help ?? false,
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      strict: true,
      options: {
        file: { type: 'string', multiple: true },
        port: { type: 'string' },
        exit: { type: 'boolean' },
        json: { type: 'boolean' },
        'no-run': { type: 'boolean' },
        fresh: { type: 'boolean' },
        'unsafe-tools': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    const [sentence = 'These arguments are not understood'] = (
      error instanceof Error ? error.message : String(error)
    ).split('. ')
    throw new UsageError(`${sentence.replace(/\.$/, '')}; \`npm start -- --help\` lists the options.`)
  }
}
