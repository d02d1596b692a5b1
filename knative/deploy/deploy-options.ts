import { parseArgs } from 'node:util'
import type { Delivery } from './images.ts'
import { Refusal } from './refusal.ts'

export type Action = 'deploy' | 'dry-run' | 'rollback' | 'undeploy' | 'only-migrate'

export interface DeployOptions {
  action: Action
  overlay: string
  context: string | undefined
  delivery: Delivery | null
  base: string | undefined
  migrations: boolean
  contract: boolean
  timeoutSeconds: number
  withSecrets: boolean
  yes: boolean
  /** For the contract suite. */
  contractArgs: string[]
}

const text = { type: 'string' } as const
const flag = { type: 'boolean', default: false } as const

/** Null: the help was asked for. No option takes a secret. */
export function parseDeployOptions(argv: readonly string[]): DeployOptions | null {
  const end = argv.indexOf('--')
  const values = parse(end === -1 ? argv : argv.slice(0, end))
  if (values.help) return null
  const actions = (['dry-run', 'rollback', 'undeploy', 'only-migrate'] as const).filter(
    (name) => values[name],
  )
  if (actions.length > 1) throw new Refusal(`--${actions.join(' and --')} do not go together.`)
  const action = actions[0] ?? 'deploy'
  const timeoutSeconds = Number(values.timeout)
  if (!Number.isInteger(timeoutSeconds) || timeoutSeconds < 1) throw new Refusal('--timeout takes seconds.')
  return {
    action,
    overlay: values.overlay,
    context: values.context,
    delivery: deliveryOf(values),
    base: values.base,
    migrations: !values['skip-migrations'],
    contract: !values['skip-contract'],
    timeoutSeconds,
    withSecrets: values['with-secrets'],
    yes: values.yes,
    contractArgs: end === -1 ? [] : argv.slice(end + 1),
  }
}

function deliveryOf(values: ReturnType<typeof parse>): Delivery | null {
  const { image, 'tool-image': tools } = values
  if (image !== undefined || tools !== undefined) {
    if (image === undefined || tools === undefined) throw new Refusal('--image and --tool-image go together.')
    return { kind: 'given', images: { services: image, tools } }
  }
  if (values.deliver === 'push') {
    if (values.registry === undefined) throw new Refusal('--deliver push needs --registry, e.g. ghcr.io/you.')
    return { kind: 'push', registry: values.registry.replace(/\/+$/, '') }
  }
  if (values.deliver === 'load') {
    if (values['load-command'] === undefined)
      throw new Refusal('--deliver load needs --load-command, e.g. "kind load image-archive".')
    return { kind: 'load', command: values['load-command'] }
  }
  if (values.deliver !== undefined) throw new Refusal('--deliver is push or load.')
  return null
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        overlay: { type: 'string', default: 'sks' },
        timeout: { type: 'string', default: '300' },
        context: text,
        deliver: text,
        registry: text,
        'load-command': text,
        image: text,
        'tool-image': text,
        base: text,
        'skip-migrations': flag,
        'skip-contract': flag,
        'with-secrets': flag,
        yes: flag,
        'dry-run': flag,
        rollback: flag,
        undeploy: flag,
        'only-migrate': flag,
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values
  } catch {
    throw new Refusal(
      'An option is not known, or lacks its value; --help has the list. Secrets are never given as options.',
    )
  }
}
