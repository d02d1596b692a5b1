import { join } from 'node:path'
import { checkCluster } from './check-cluster.ts'
import { checkDelivery } from './check-delivery.ts'
import { checkSettings } from './check-value.ts'
import type { DeployOptions } from './deploy-options.ts'
import { doorAddress } from './door-address.ts'
import type { Settings } from './found.ts'
import { sendTrafficTo, servingRevisions, waitUntilReady } from './functions.ts'
import { isSame, readHistory, recordRelease, releaseBefore } from './history.ts'
import { deliverImages } from './images.ts'
import { childEnv, type Kubectl, lastLines, runCommand } from './kubectl.ts'
import { applyMigrations, pendingMigrations } from './migrations.ts'
import { Refusal } from './refusal.ts'
import { isFunction, toRelease } from './release.ts'
import { type Manifest, ROOT } from './render.ts'
import type { Screen } from './screen.ts'
import { FUNCTIONS, requiredKeys } from './secret-table.ts'
import { readSecretData } from './stored-secrets.ts'

export interface Target {
  kubectl: Kubectl
  manifests: readonly Manifest[]
  /** Of the services. */
  namespace: string
  screen: Screen
}

const APPLY = ['--server-side', '--force-conflicts', '--field-manager=deploy', '--filename=-']

export async function rollOut(
  target: Target,
  options: DeployOptions,
  databaseUrl: string | undefined,
): Promise<void> {
  const { kubectl, namespace, screen } = target
  const names = namesOf(target)
  const pending = await checkAllFirst(target, options, databaseUrl)
  const before = await servingRevisions(kubectl, namespace, names)
  // checked: without a delivery there was a problem
  if (options.delivery === null) throw new Refusal('There are no images to deliver.')
  const images = await deliverImages(options.delivery, { base: options.base, screen })
  if (pending.length > 0 && databaseUrl !== undefined)
    screen.line(`${(await applyMigrations(databaseUrl)).length} migrations applied`)
  const secrets = await readSecretData(kubectl, namespace)
  screen.hide([...secrets.values()].flatMap((secret) => Object.values(secret)))
  const door = await doorAddress(kubectl, target.manifests)
  const release = toRelease(target.manifests, { images, secrets, doorAddress: door })
  await apply(kubectl, release)
  screen.line(`${release.length} objects applied`)
  try {
    await waitUntilReady(kubectl, namespace, names, { timeoutSeconds: options.timeoutSeconds, screen })
    if (options.contract) await holdContract(target, options)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    screen.line(error.message)
    await backToGood(target, before)
    throw new Refusal('The release is not good.')
  }
  const revisions = await servingRevisions(kubectl, namespace, names)
  await recordRelease(kubectl, namespace, { at: new Date().toISOString(), revisions, images })
  screen.line(
    isSame(before, revisions)
      ? 'Nothing changed: the same revisions serve.'
      : `Serving: ${Object.values(revisions).join(', ')}`,
  )
}

/** The migrations that are pending. @throws Refusal that names everything that is in the way */
async function checkAllFirst(
  target: Target,
  options: DeployOptions,
  databaseUrl: string | undefined,
): Promise<string[]> {
  const { kubectl, manifests, screen } = target
  const settings = settingsOf(manifests)
  const database = options.migrations ? checkDatabase(databaseUrl) : { faults: [], pending: [] }
  const [cluster, delivery, { faults, pending }] = await Promise.all([
    checkCluster(kubectl, manifests),
    checkDelivery(options.delivery),
    database,
  ])
  const secrets = cluster.some((fault) => fault.startsWith('The cluster cannot be reached'))
    ? []
    : await checkSecrets(target, settings)
  const found = [
    ...checkSettings(settings).map((fault) => `Settings of the overlay ${options.overlay}: ${fault}.`),
    ...cluster,
    ...secrets,
    ...delivery,
    ...faults,
    ...checkContract(options, settings),
  ]
  if (found.length > 0)
    throw new Refusal(
      `${found.length} problems, nothing was changed:\n${found.map((fault) => `  ✗ ${fault}`).join('\n')}`,
    )
  screen.line(
    `Checked: cluster, settings, secrets, delivery${options.migrations ? `, ${pending.length} migrations pending` : ''}`,
  )
  return pending
}

async function checkDatabase(url: string | undefined): Promise<{ faults: string[]; pending: string[] }> {
  if (url === undefined)
    return {
      faults: [
        'MIGRATION_DATABASE_URL is missing: set it to the connection of the role postgres, or give --skip-migrations.',
      ],
      pending: [],
    }
  try {
    return { faults: [], pending: await pendingMigrations(url) }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { faults: [error.message], pending: [] }
  }
}

async function checkSecrets({ kubectl, namespace }: Target, settings: Settings): Promise<string[]> {
  const stored = await readSecretData(kubectl, namespace).catch(
    () => new Map<string, Record<string, string>>(),
  )
  const lacking = FUNCTIONS.flatMap((name) => {
    const keys = requiredKeys(name, { withDatabaseUrl: settings.STORE === 'postgres' }).filter(
      (key) => !stored.get(name)?.[key],
    )
    return keys.length === 0 ? [] : [`${name} (${keys.join(', ')})`]
  })
  return lacking.length === 0
    ? []
    : [`Secrets are missing in ${namespace}: run ./setup-secrets.sh. ${lacking.join('; ')}`]
}

function checkContract(options: DeployOptions, settings: Settings): string[] {
  if (!options.contract || options.contractArgs.includes('--sign-up')) return []
  const { CONTRACT_EMAIL, CONTRACT_OTHER_EMAIL, CONTRACT_TOKEN, CONTRACT_OTHER_TOKEN } = process.env
  if ((CONTRACT_EMAIL || CONTRACT_TOKEN) && (CONTRACT_OTHER_EMAIL || CONTRACT_OTHER_TOKEN)) return []
  return [
    `The contract suite needs two users of ${settings.SUPABASE_URL}: set CONTRACT_EMAIL, CONTRACT_PASSWORD and CONTRACT_OTHER_…, or give -- --sign-up, or --skip-contract.`,
  ]
}

async function apply(kubectl: Kubectl, release: readonly Manifest[]): Promise<void> {
  const { code, stderr } = await kubectl.run(
    ['apply', ...APPLY],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: release }),
  )
  if (code !== 0)
    throw new Refusal(
      `Not everything could be applied; run this again when it is mended:\n${lastLines(stderr)}`,
    )
}

/** Over the public address, as a user would: with its name, its certificate, its gateway. */
async function holdContract(
  { kubectl, manifests, namespace, screen }: Target,
  { contractArgs }: DeployOptions,
): Promise<void> {
  const settings = settingsOf(manifests)
  const url = settings.PUBLIC_BASE_URL?.replace(/\/+$/, '') ?? ''
  await reach(url)
  screen.line(`Holding ${url} to the contract…`)
  const secret = (await readSecretData(kubectl, namespace)).get('agent-execute')
  const env = {
    SUPABASE_URL: settings.SUPABASE_URL,
    ...childEnv(),
    SUPABASE_ANON_KEY: secret?.SUPABASE_ANON_KEY,
  }
  const { code } = await runCommand(
    process.execPath,
    [join(ROOT, 'dev/bootstrap.mjs'), 'contract', '--url', url, ...contractArgs],
    { env, cwd: ROOT, show: true },
  )
  if (code !== 0) throw new Refusal(`${url} does not hold the contract (see above).`)
}

/** A route, a name or a certificate may take a while on the first day. */
const REACH_MS = 120_000

async function reach(url: string): Promise<void> {
  const end = performance.now() + REACH_MS
  let last = ''
  while (performance.now() < end) {
    last = await fetch(`${url}/health`, { signal: AbortSignal.timeout(20_000) }).then(
      ({ status }) => (status === 200 ? '' : `answers ${status}`),
      () => 'cannot be reached: do its name and certificate lead to the gateway?',
    )
    if (last === '') return
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
  throw new Refusal(`${url}/health ${last}`)
}

/** The last release that held the contract; else what served before, which Knative would keep serving anyway. */
async function backToGood(
  { kubectl, namespace, screen }: Target,
  before: Record<string, string>,
): Promise<void> {
  const good = (await readHistory(kubectl, namespace))[0]?.revisions ?? before
  if (Object.keys(good).length === 0) {
    screen.line('There is no earlier release to go back to; what was applied stays.')
    return
  }
  await sendTrafficTo(kubectl, namespace, good)
  screen.line(`Requests go to the last good release: ${Object.values(good).join(', ')}`)
}

export async function rollBack(target: Target, { timeoutSeconds }: DeployOptions): Promise<void> {
  const { kubectl, namespace, screen } = target
  const serving = await servingRevisions(kubectl, namespace, namesOf(target))
  const release = releaseBefore(await readHistory(kubectl, namespace), serving)
  if (release === undefined) throw new Refusal('There is no good release before the one that serves.')
  await sendTrafficTo(kubectl, namespace, release.revisions)
  await waitUntilReady(kubectl, namespace, Object.keys(release.revisions), { timeoutSeconds, screen })
  screen.line(`Requests go to the release of ${release.at}: ${Object.values(release.revisions).join(', ')}`)
}

/** With the images that were named, or else those of the last release: nothing is built. */
export async function dryRun(
  { kubectl, manifests, namespace, screen }: Target,
  { delivery }: DeployOptions,
): Promise<void> {
  const images =
    delivery?.kind === 'given' ? delivery.images : (await readHistory(kubectl, namespace))[0]?.images
  const secrets = await readSecretData(kubectl, namespace).catch(
    () => new Map<string, Record<string, string>>(),
  )
  const release = toRelease(manifests, {
    images,
    secrets,
    doorAddress: await doorAddress(kubectl, manifests),
  })
  const { code, stdout, stderr } = await kubectl.run(
    ['diff', ...APPLY],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: release }),
  )
  // 0: none, 1: differences, above: it could not be found out
  if (code > 1)
    throw new Refusal(
      `kubectl diff failed, which it does before the namespaces are there: ${lastLines(stderr)}`,
    )
  screen.line(code === 0 ? 'Nothing would change.' : `Would change:\n${stdout}`)
}

function namesOf({ manifests }: Target): string[] {
  return manifests.filter(isFunction).map(({ metadata }) => metadata.name)
}

function settingsOf(manifests: readonly Manifest[]): Settings {
  return (
    manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'agent-settings')
      ?.data ?? {}
  )
}
