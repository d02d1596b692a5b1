import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { askHidden } from './ask-hidden.ts'
import { type DeployOptions, parseDeployOptions } from './deploy-options.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { applyMigrations, pendingMigrations } from './migrations.ts'
import { Refusal } from './refusal.ts'
import { namespaceOf } from './release.ts'
import { overlayDir, render } from './render.ts'
import { dryRun, rollBack, rollOut, type Target } from './roll-out.ts'
import { createScreen } from './screen.ts'
import { readDeployed, undeploy } from './undeploy.ts'

const screen = createScreen((text) => process.stdout.write(text))
process.exitCode = await main()

async function main(): Promise<number> {
  try {
    const options = parseDeployOptions(process.argv.slice(2))
    if (options === null) {
      process.stdout.write(readFileSync(join(import.meta.dirname, 'deploy-help.txt'), 'utf8'))
      return 0
    }
    await run(options)
    return 0
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    screen.line(error.message)
    return 1
  }
}

async function run(options: DeployOptions): Promise<void> {
  const { action } = options
  const needsDatabase = action === 'only-migrate' || (action === 'deploy' && options.migrations)
  const databaseUrl = await migrationUrl(needsDatabase)
  if (action === 'only-migrate') return onlyMigrate(databaseUrl)
  const kubectl = createKubectl(options)
  const manifests = await render(kubectl, overlayDir(options.overlay))
  const target: Target = { kubectl, manifests, namespace: namespaceOf(manifests), screen }
  if (action === 'dry-run') return dryRun(target, options)
  if (action === 'rollback') return rollBack(target, options)
  if (action === 'undeploy') return remove(kubectl, target, options)
  return rollOut(target, options, databaseUrl)
}

async function onlyMigrate(databaseUrl: string | undefined): Promise<void> {
  if (databaseUrl === undefined)
    throw new Refusal('MIGRATION_DATABASE_URL is missing: set it to the connection of the role postgres.')
  for (const file of await pendingMigrations(databaseUrl)) screen.line(`pending: ${file}`)
  screen.line(`${(await applyMigrations(databaseUrl)).length} migrations applied`)
}

/** Out of the environment at once, so that no child has it. */
async function migrationUrl(isNeeded: boolean): Promise<string | undefined> {
  const given = process.env.MIGRATION_DATABASE_URL?.trim()
  delete process.env.MIGRATION_DATABASE_URL
  const canAsk = isNeeded && process.stdin.isTTY === true
  const url =
    given ||
    (canAsk
      ? (await askHidden('MIGRATION_DATABASE_URL, connection of the role postgres (not stored): ')).trim()
      : '')
  if (url === '') return undefined
  screen.hide([url])
  return url
}

async function remove(
  kubectl: Kubectl,
  { manifests, namespace }: Target,
  { withSecrets, yes }: DeployOptions,
): Promise<void> {
  const deployed = await readDeployed(kubectl, manifests, namespace)
  if (deployed.length === 0 && !withSecrets) {
    screen.line(`Nothing of ${namespace} is deployed.`)
    return
  }
  for (const { kind, metadata } of deployed)
    screen.line(`${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`)
  if (!yes) {
    if (process.stdin.isTTY !== true)
      throw new Refusal('There is no terminal to ask on: give --yes to remove these.')
    const asking = createInterface({ input: process.stdin, output: process.stdout })
    const answer = await asking.question(`Remove these? The data stays in the database. Type ${namespace}: `)
    asking.close()
    if (answer.trim() !== namespace) throw new Refusal('Nothing was removed.')
  }
  await undeploy(kubectl, deployed, { namespace, withSecrets, screen })
}
