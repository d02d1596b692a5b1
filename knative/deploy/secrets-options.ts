import { parseArgs } from 'node:util'
import { Refusal } from './refusal.ts'
import { SECRET_NAMES, type SecretName } from './secret-table.ts'

export interface SecretsOptions {
  overlay: string
  settings: string | undefined
  namespace: string
  context: string | undefined
  fromEnv: boolean
  envFile: string | undefined
  rotate: SecretName | undefined
  check: boolean
}

const text = { type: 'string' } as const
const flag = { type: 'boolean', default: false } as const

/** Null: the help was asked for. No option takes a secret: what stands on a command line, everybody on the machine can read. */
export function parseSecretsOptions(argv: readonly string[]): SecretsOptions | null {
  const { values } = parse(argv)
  if (values.help) return null
  const rotate = SECRET_NAMES.find((name) => name === values.rotate)
  if (values.rotate !== undefined && rotate === undefined)
    throw new Refusal(`--rotate takes the name of a value, one of ${SECRET_NAMES.join(', ')}.`)
  if (values.check && rotate !== undefined)
    throw new Refusal('--check changes nothing, --rotate does: give one of them.')
  return {
    overlay: values.overlay,
    settings: values.settings,
    namespace: values.namespace,
    context: values.context,
    fromEnv: values['from-env'],
    envFile: values['env-file'],
    rotate,
    check: values.check,
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        overlay: { type: 'string', default: 'sks' },
        namespace: { type: 'string', default: 'agents' },
        settings: text,
        context: text,
        'env-file': text,
        rotate: text,
        'from-env': flag,
        check: flag,
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch {
    // not the message: it repeats what was given, and that may have been a secret
    throw new Refusal(
      'An option is not known, or lacks its value; --help has the list. Secrets are never given as options.',
    )
  }
}
