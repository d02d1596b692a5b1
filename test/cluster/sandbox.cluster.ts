import { afterAll, beforeAll, expect, test } from 'vitest'
import { type SandboxFixture, sandboxSuite } from '../../shared/ports/sandbox.suite.ts'
import type { JobSpec, JobState } from '../../shared/ports/sandbox.ts'
import type { DoorJob } from '../../shared/runner/testing/fake-door.ts'
import { ended, figure, reasonOf, SandboxWorld, until } from './sandbox-world.ts'

const world = new SandboxWorld()
const sandbox = world.sandbox()
const known = new Map<string, DoorJob>()
beforeAll(async () => {
  await world.open()
})
afterAll(async () => {
  await world.close()
})

function make(command: string, changes: Partial<JobSpec> = {}): JobSpec {
  const made = world.door.add({ name: 'shell', input: { command } })
  const spec = world.spec(made, changes)
  known.set(spec.name, made)
  return spec
}

const doorOf = (spec: JobSpec): DoorJob => {
  const made = known.get(spec.name)
  if (made === undefined) throw new Error('an unknown job')
  return made
}

/** Makes a job, waits for the tool to be at work, disturbs it, and answers how the job ended. */
async function disturbed(
  name: string,
  disturb: (spec: JobSpec) => Promise<unknown>,
  isMute: boolean,
): Promise<{ state: JobState; told: string }> {
  const spec = make('echo on; sleep 1000')
  await sandbox.create(spec)
  await until(async () => (doorOf(spec).starts > 0 ? true : undefined), 'the start')
  await world.pod(spec.name, ({ status }) => status?.phase === 'Running')
  // What the runner says last is lost on its way.
  world.door.intercept = isMute
    ? (request, _response, path) => path === 'result' && Boolean(request.destroy())
    : undefined
  const started = Date.now()
  await disturb(spec)
  const state = await until(async () => ended(await sandbox.inspect(spec.name)), 'the end', 90)
  world.door.intercept = undefined
  const told = doorOf(spec)
    .results.map(({ outcome }) => JSON.stringify(outcome))
    .join(' ')
  figure(`${name}: ${state.state} after ${Date.now() - started} ms, "${reasonOf(state)}", door: ${told}`)
  await sandbox.remove(spec.name)
  return { state, told }
}

const fixture: SandboxFixture = {
  sandbox,
  unreachable: world.sandbox({ kubeconfig: `${import.meta.dirname}/fixtures/nowhere.yaml`, timeoutMs: 2000 }),
  job: (kind) =>
    make(kind === 'long' ? 'sleep 1000' : 'echo done', kind === 'lost' ? { token: 'wrong' } : {}),
  results: (spec) => doorOf(spec).results.filter(({ outcome }) => outcome.kind !== 'lost').length,
  starts: (spec) => doorOf(spec).starts,
}
sandboxSuite('Jobs of a cluster', () => fixture)

test('a tool runs as its own user, brings its files back, and its result says how it went', async () => {
  const made = world.door.add(
    {
      name: 'shell',
      input: { command: 'id -u; cat inputs/a; echo new > outputs/b; echo $HOME $USER; exit 7' },
    },
    { files: { 'inputs/a': 'given ' } },
  )
  const spec = world.spec(made)
  const started = Date.now()
  await sandbox.create(spec)
  const [result] = await until(async () => (made.results.length > 0 ? made.results : undefined), 'the result')
  figure(`created until its result was there: ${Date.now() - started} ms`)
  expect(result?.outcome).toEqual({ kind: 'exited', exit_code: 7 })
  expect(result?.stdout).toMatch(/^\d{6,10}\ngiven \/tmp\/home tool\n$/)
  expect(result?.files.put.map(({ path }) => path)).toEqual(['outputs/b'])
  expect(world.door.faults).toEqual([])
  await sandbox.remove(spec.name)
})

test('out of memory is said: slowly by the watchdog, at once by the kernel', async () => {
  for (const [name, command, memory_bytes] of [
    ['watchdog', `node -e 'const a=[];setInterval(()=>a.push(Buffer.alloc(3e7,1)),20)'`, 200e6],
    ['kernel', 'head -c 3000000000 /dev/zero | tail -c 2500000000 > /dev/null', 8e9],
  ] as const) {
    const made = world.door.add(
      { name: 'shell', input: { command } },
      { limits: { memory_bytes, timeout_seconds: 60 } },
    )
    const spec = world.spec(made)
    await sandbox.create(spec)
    const [result] = await until(
      async () => (made.results.length > 0 ? made.results : undefined),
      'the result',
      90,
    )
    figure(`out of memory (${name}): ${JSON.stringify(result?.outcome)} after ${result?.duration_ms} ms`)
    await sandbox.remove(spec.name)
    expect(result?.outcome).toEqual({ kind: 'out_of_memory' })
  }
})

test('past its deadline a job is stopped', async () => {
  const spec = make('sleep 1000', { deadlineSeconds: 8, doorUrl: world.doorUrl.replace(/:\d+/, ':9') })
  await sandbox.create(spec)
  const state = await until(async () => ended(await sandbox.inspect(spec.name)), 'the end')
  figure(`deadline: "${reasonOf(state)}"`)
  expect(reasonOf(state)).toMatch(/within its time|runner ended with status 1/)
  await sandbox.remove(spec.name)
})

test.each([
  ['evicted', true],
  ['deleted', false],
])(
  'a pod that is %s is told from a tool that failed, by its runner or by its job',
  async (how, isEviction) => {
    for (const isMute of [false, true]) {
      const disturb = async (spec: JobSpec): Promise<unknown> => {
        const { namespace } = world
        const name = (await world.pod(spec.name)).metadata?.name ?? ''
        return isEviction
          ? await world.core.createNamespacedPodEviction({
              name,
              namespace,
              body: { metadata: { name, namespace } },
            })
          : await world.core.deleteNamespacedPod({ name, namespace })
      }
      const { state, told } = await disturbed(
        `${how}${isMute ? ', its last words lost' : ''}`,
        disturb,
        isMute,
      )
      expect(told).toMatch(isMute ? /^$/ : /"lost".*SIGTERM/)
      if (isMute)
        expect(reasonOf(state)).toMatch(
          isEviction ? /evicted|removed by the cluster/ : /deleted|runner ended/,
        )
    }
  },
)

test.each([
  ['an image that is not there', { image: 'dev.local/none:1' }, /cannot be pulled/, false],
  ['an image whose name is wrong', { image: 'dev.local/NONE:1' }, /name of its image/, true],
  ['no room in the cluster', { cpuMillicores: 60_000 }, /no place for it.*Insufficient cpu/, false],
] as const)('a job that does not start says why: %s', async (name, changes, reason, isHopeless) => {
  const other = world.sandbox(changes)
  const spec = make('true')
  await other.create(spec)
  const state = await until(async () => {
    const found = await other.inspect(spec.name)
    return reason.test(reasonOf(found)) ? found : undefined
  }, 'the reason')
  figure(`${name}: ${JSON.stringify(state).slice(0, 220)}`)
  expect(state).toMatchObject({ state: 'pending', waitedSeconds: expect.any(Number) })
  expect('isHopeless' in state && state.isHopeless === true).toBe(isHopeless)
  await other.remove(spec.name)
})

test('a quota that is used up: of pods, and of jobs', async () => {
  const { namespace } = world
  const quota = async (hard: Record<string, string>): Promise<void> => {
    await world.core.createNamespacedResourceQuota({
      namespace,
      body: { metadata: { name: 'full' }, spec: { hard } },
    })
    await until(async () => {
      const { status } = await world.core.readNamespacedResourceQuota({ namespace, name: 'full' })
      return status?.hard
    }, 'the quota')
  }
  await quota({ pods: '0' })
  const spec = make('true')
  await sandbox.create(spec)
  const state = await until(async () => {
    const found = await sandbox.inspect(spec.name)
    return reasonOf(found).includes('quota') ? found : undefined
  }, 'the reason')
  figure(`no pods left: ${JSON.stringify(state)}`)
  await sandbox.remove(spec.name)
  await world.core.deleteNamespacedResourceQuota({ namespace, name: 'full' })
  await quota({ 'count/jobs.batch': '0' })
  await expect(sandbox.create(make('true'))).rejects.toMatchObject({ code: 'unavailable', message: /quota/ })
  await world.core.deleteNamespacedResourceQuota({ namespace, name: 'full' })
})

test('a result that the door never takes: the job says so', async () => {
  world.door.intercept = (_request, response, path) => {
    if (path !== 'result') return false
    response.writeHead(404).end()
    return true
  }
  const spec = make('echo done')
  await sandbox.create(spec)
  const state = await until(async () => ended(await sandbox.inspect(spec.name)), 'the end')
  world.door.intercept = undefined
  figure(`callback lost: ${state.state}, "${reasonOf(state)}"`)
  expect(reasonOf(state)).toMatch(/runner ended with status 1.*404/)
  await sandbox.remove(spec.name)
})
