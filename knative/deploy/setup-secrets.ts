import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { askHidden } from './ask-hidden.ts'
import { checkAll, checkSettings } from './check-value.ts'
import { collectValues, type Source } from './collect-values.ts'
import type { Settings } from './found.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { Refusal } from './refusal.ts'
import { createScreen } from './screen.ts'
import { PASSING_NAMES, SECRET_NAMES, type Values } from './secret-table.ts'
import { parseSecretsOptions, type SecretsOptions } from './secrets-options.ts'
import { readFile, readSettings } from './settings.ts'
import { ensureNamespace, readStored, writeSecrets } from './stored-secrets.ts'
import { storeSweep, sweepByHand } from './sweep-vault.ts'

const screen = createScreen((text) => process.stdout.write(text))
process.exitCode = await main()

async function main(): Promise<number> {
  try {
    const options = parseSecretsOptions(process.argv.slice(2))
    if (options === null) {
      process.stdout.write(readFileSync(join(import.meta.dirname, 'secrets-help.txt'), 'utf8'))
      return 0
    }
    return await run(options)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    screen.line(error.message)
    return 1
  }
}

async function run(options: SecretsOptions): Promise<number> {
  const source = sourceOf(options)
  screen.hide([...SECRET_NAMES, ...PASSING_NAMES].flatMap((name) => source.given[name]?.trim() ?? []))
  const kubectl = createKubectl(options)
  await kubectl.must(['get', '--raw', '/readyz'])
  const settings = await readSettings(kubectl, { file: options.settings, overlay: options.overlay })
  const faults = checkSettings(settings)
  if (faults.length > 0) {
    screen.line(`The settings of ${options.settings ?? `the overlay ${options.overlay}`} are not ready:`)
    for (const fault of faults) screen.line(`✗ ${fault}`)
    return 1
  }
  const stored = await readStored(kubectl, options.namespace)
  screen.hide(Object.values(stored.values))
  for (const name of stored.torn) screen.line(`! ${name} is not the same in all Secrets; writing makes it so`)
  if (options.check) {
    for (const name of stored.missing) screen.line(`✗ There is no Secret ${name} in ${options.namespace}`)
    return (await report(settings, stored.values)) && stored.torn.length + stored.missing.length === 0 ? 0 : 1
  }
  const values = await collectValues({
    settings,
    stored: stored.values,
    source,
    screen,
    rotate: options.rotate,
  })
  if (!(await report(settings, values))) {
    screen.line('Nothing was stored.')
    return 1
  }
  await store(kubectl, options, settings, values, source)
  return 0
}

async function report(settings: Settings, values: Values): Promise<boolean> {
  const checked = await checkAll({ settings, values })
  for (const { name, found } of checked) {
    if (found.problem !== undefined) screen.line(`✗ ${name} ${found.problem}`)
    else screen.line(`✓ ${name}${found.note === undefined ? '' : `: ${found.note}`}`)
  }
  return checked.every(({ found }) => found.problem === undefined)
}

async function store(
  kubectl: Kubectl,
  { namespace }: SecretsOptions,
  settings: Settings,
  values: Values,
  { given }: Source,
): Promise<void> {
  if (await ensureNamespace(kubectl, namespace)) screen.line(`Namespace ${namespace} made`)
  const written = await writeSecrets(kubectl, namespace, values)
  for (const { name, changed } of written) screen.line(`Secret ${name} ${changed ? 'written' : 'unchanged'}`)
  await tellSweeper(namespace, settings, values, given.MIGRATION_DATABASE_URL)
  if (written.some(({ changed }) => changed)) screen.line('./deploy.sh brings the functions up with them.')
}

/** The sweeper in the database signs with the same secret. */
async function tellSweeper(
  namespace: string,
  settings: Settings,
  values: Values,
  url: string | undefined,
): Promise<void> {
  const base = settings.PUBLIC_BASE_URL?.replace(/\/+$/, '') ?? ''
  if (url === undefined || url.trim() === '') {
    const command = `kubectl get secret agent-step --namespace ${namespace} --output go-template='{{.data.SWEEP_SECRET | base64decode}}'`
    for (const line of sweepByHand(base, command)) screen.line(line)
    return
  }
  const done = await storeSweep(url.trim(), {
    url: `${base}/agent/step/sweep`,
    secret: values.SWEEP_SECRET ?? '',
  })
  if (done === 'no-vault')
    screen.line('The database has no Vault: the CronJob of the manifests has to call the sweep.')
  else screen.line(`Address and secret of the sweep in Vault ${done}`)
}

/** Taken out of the environment, so that no child gets it. */
function sourceOf({ fromEnv, envFile, check }: SecretsOptions): Source {
  const given: Record<string, string | undefined> = envFile === undefined ? {} : parseEnv(readFile(envFile))
  for (const name of [...SECRET_NAMES, ...PASSING_NAMES]) {
    const value = process.env[name]
    delete process.env[name]
    if (fromEnv || name === 'MIGRATION_DATABASE_URL') given[name] ??= value
  }
  if (fromEnv || envFile !== undefined) return { given }
  if (process.stdin.isTTY === true) return { given, ask: askHidden }
  if (check) return { given }
  throw new Refusal('There is no terminal to ask on: give --from-env or --env-file FILE.')
}
