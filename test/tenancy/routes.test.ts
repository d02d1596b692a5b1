import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { approvalBody, bulkBody, forkBody, resumeBody, verbBody } from '../../shared/contract/execute.ts'
import { operations } from '../../shared/contract/operations.ts'
import { type Caller, callersOf } from './callers.ts'
import { ACTIONS, type Door, type Method, ROUTES } from './expectations.ts'
import { type DoorWorld, doorWorld, FILE_SHA256, PARKED_STEP, TAG } from './world.ts'

type ServiceName = keyof typeof ROUTES
const SERVICES = Object.keys(ROUTES) as ServiceName[]
const METHODS: readonly Method[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
const UNKNOWN_RUN = '00000000-0000-4000-8000-0000000000ff'

let world: DoorWorld
let callers: Caller[]
let cells = 0

beforeAll(async () => {
  world = await doorWorld()
  callers = await callersOf(world)
})
afterAll(async () => {
  await world.close()
  console.log(`tenancy matrix, routes: ${cells} cells`)
})

interface Answer {
  status: number
  /** All that a caller can see, without what differs from request to request. */
  seen: string
  body: string
}

async function ask(
  service: ServiceName,
  method: Method,
  route: string,
  caller: Caller,
  runId: string,
  fields: Record<string, unknown> = {},
  query = '',
): Promise<Answer> {
  const path = route
    .replace(':run_id', runId)
    .replace(':step_number', String(PARKED_STEP))
    .replace(':sha256', FILE_SHA256)
    .replace(':asset', 'swagger-ui.css')
  const body =
    method === 'POST'
      ? JSON.stringify(bodyOf(service, route, runId, fields))
      : method === 'PUT'
        ? 'bytes'
        : ''
  const shown = await caller.show({ path, body })
  const asked = [route.includes(':run_id') ? '' : `run_id=${runId}`, query, shown.query]
    .filter(Boolean)
    .join('&')
  const answer = await world.apps[service].request(`${path}?${asked}`, {
    method,
    headers: { 'content-type': 'application/json', ...shown.headers },
    ...(body === '' ? {} : { body }),
  })
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') ?? false
  if (isStream) await answer.body?.cancel()
  const text = isStream ? 'a stream' : await answer.text()
  const headers = [...answer.headers]
    .filter(([name]) => name !== 'x-request-id')
    .map(([name, value]) => `${name}: ${value}`)
  const visible = text.replaceAll(/"request_id":"[^"]*"/g, '')
  cells += 1
  return { status: answer.status, seen: `${answer.status}\n${headers.join('\n')}\n${visible}`, body: text }
}

function bodyOf(
  service: ServiceName,
  route: string,
  runId: string,
  fields: Record<string, unknown>,
): unknown {
  if (service === 'step' && (route.endsWith('/agent/step') || route === '/'))
    return { run_id: runId, step_number: 0, ...fields }
  if (route.endsWith('/output')) return { chunks: [] }
  if (route.endsWith('/start')) return {}
  if (route.endsWith('/sweep') || route.endsWith('/failure')) return {}
  if (route.endsWith('/result'))
    return {
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: '',
      stderr: '',
      truncated: false,
      duration_ms: 1,
      files: { put: [], removed: [] },
    }
  return { action: 'start', run_id: runId, ...fields }
}

describe('the route tables', () => {
  it.each(SERVICES)('every path of %s is in the expectations, and every expected one is served', (name) => {
    const served = new Set(world.apps[name].routes.map(({ path }) => path).filter((path) => path !== '/*'))
    expect(served).toEqual(new Set(Object.keys(ROUTES[name])))
  })

  it('every documented operation is there with the door that the document names', () => {
    const schemes: Record<string, Door[]> = {
      user: ['user', 'stream'],
      ticket: ['stream', 'user'],
      qstash: ['qstash'],
      sweep: ['sweep'],
      job: ['job'],
    }
    for (const { method, paths, security } of operations) {
      for (const documented of paths) {
        const path = documented.replaceAll(/\{(\w+)\}/g, ':$1')
        const doors = SERVICES.flatMap((name) => ROUTES[name][path]?.[method.toUpperCase() as Method] ?? [])
        expect([path, doors.length > 0]).toEqual([path, true])
        const allowed = security.length === 0 ? ['open'] : security.flatMap((scheme) => schemes[scheme] ?? [])
        for (const door of doors) expect([path, allowed.includes(door)]).toEqual([path, true])
      }
    }
  })

  it('every action that names a run is in the expectations', () => {
    const known = [
      ...verbBody.shape.action.options,
      ...bulkBody.shape.action.options,
      ...approvalBody.shape.action.options,
      resumeBody.shape.action.value,
      forkBody.shape.action.value,
    ]
    for (const action of known) expect(Object.keys(ACTIONS)).toContain(action)
  })
})

/** Asks with every way of asking, about a run that is the caller's, somebody else's, and nobody's. */
async function check(
  service: ServiceName,
  method: Method,
  path: string,
  door: Door,
  more: [Record<string, unknown>?, string?] = [],
) {
  const { alice, bob } = world.people
  const refused = new Set<string>()
  let letIn = 0
  for (const caller of callers) {
    const own = caller.person ?? alice
    const foreign = own === alice ? bob : alice
    const [mine, theirs, unknown] = [
      await ask(service, method, path, caller, own.runId, ...more),
      await ask(service, method, path, caller, foreign.runId, ...more),
      await ask(service, method, path, caller, UNKNOWN_RUN, ...more),
    ]
    const about = `${method} ${path} ${JSON.stringify(more)} by ${caller.name}`
    // QStash and the sweeper are told of runs that are nobody's: they act for all
    if (door !== 'qstash' && door !== 'sweep') expect([about, theirs.seen]).toEqual([about, unknown.seen])
    if (!caller.opens.includes(door)) {
      for (const { seen, status } of [mine, theirs]) {
        expect([about, status]).toEqual([about, 401])
        refused.add(seen)
      }
      continue
    }
    letIn += 1
    // a run that is not theirs: not found, or for a ticket and a job token, not theirs to ask with
    expect([about, mine.status]).not.toEqual([about, 401])
    expect([about, /run_not_found|"error":"Not found"/.test(mine.body)]).toEqual([about, false])
    expect([about, mine.status < 500]).toEqual([about, true])
    if (path === '/agent/runs' || caller.person === null) continue
    const wanted = caller.name.includes('ticket') || door === 'job' ? 401 : 404
    expect([about, theirs.status]).toEqual([about, wanted])
    expect(theirs.body).not.toContain(foreign.userId)
  }
  expect(letIn).toBeGreaterThan(0)
  // whatever is wrong with what was shown, one answer
  expect([path, [...refused].length]).toEqual([path, 1])
}

describe('routes × verbs × ways of asking × own, foreign and unknown runs', () => {
  const rows = SERVICES.flatMap((service) =>
    Object.keys(ROUTES[service]).map((path) => [service, path] as const),
  )

  it.each(rows)('%s %s: verbs', async (service, path) => {
    const { alice } = world.people
    for (const method of METHODS) {
      const door = ROUTES[service][path]?.[method]
      if (door === undefined) {
        const answers = new Set<string>()
        for (const caller of callers)
          answers.add((await ask(service, method, path, caller, alice.runId)).seen)
        expect([method, [...answers].map((one) => one.slice(0, 3))]).toEqual([method, ['405']])
      } else if (door === 'open') {
        // the document and its files are the same for all: two ways of asking say so
        for (const caller of callers.filter(({ name }) => name === 'nobody' || name === 'alice')) {
          const { status } = await ask(service, method, path, caller, alice.runId)
          expect([method, caller.name, status]).toEqual([method, caller.name, 200])
        }
      }
    }
  })

  it('reading: what a stranger is told is the same for a foreign run and for none', async () => {
    for (const [service, path] of rows) {
      for (const [method, door] of Object.entries(ROUTES[service][path] ?? {}) as [Method, Door][]) {
        if (door !== 'user' && door !== 'stream') continue
        if (service === 'execute' && method === 'POST') continue
        await check(service, method, path, door)
        if (service === 'logs' && door === 'user' && method === 'GET')
          await check(service, method, path, 'stream', [{}, 'mode=stream'])
      }
    }
  })

  it("a foreign run's data stays as it is under every action of everybody else", async () => {
    const { alice, bob, twin } = world.people
    const before = await world.traces(alice)
    for (const caller of callers.filter(({ person }) => person !== alice)) {
      for (const [name, fields] of Object.entries(ACTIONS))
        await ask('execute', 'POST', '/agent/execute', caller, alice.runId, { action: name, ...fields })
      for (const verb of bulkBody.shape.action.options)
        await ask('execute', 'POST', '/agent/execute', caller, '', { action: verb, tag: `not ${TAG}` })
      await ask('execute', 'POST', '/agent/cancel', caller, alice.runId)
      for (const path of Object.keys(ROUTES.step).filter((one) => one.includes('/job/')))
        for (const method of ['POST', 'PUT'] as const) await ask('step', method, path, caller, alice.runId)
    }
    expect(await world.traces(alice)).toBe(before)
    const list = await ask(
      'execute',
      'GET',
      '/agent/runs',
      { ...(callers.find(({ person }) => person === bob) as Caller) },
      '',
    )
    expect(list.body).toContain(bob.runId)
    expect(list.body).not.toMatch(new RegExp(`${alice.runId}|${twin.runId}`))
  })

  it('messages, sweeps and jobs', async () => {
    for (const [path, verbs] of Object.entries(ROUTES.step)) {
      for (const [method, door] of Object.entries(verbs) as [Method, Door][])
        if (door !== 'open') await check('step', method, path, door)
    }
  })

  it('actions', async () => {
    for (const path of [
      '/',
      '/functions/v1/agent-execute',
      '/functions/v1/agent-execute-phase2',
      '/agent/cancel',
    ])
      await check('execute', 'POST', path, 'user')
    for (const [name, fields] of Object.entries(ACTIONS))
      await check('execute', 'POST', '/agent/execute', 'user', [{ action: name, ...fields }])
  })
})
