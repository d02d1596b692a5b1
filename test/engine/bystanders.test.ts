import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { modelStep } from '../../shared/core/steps.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import type { CreateRun, StepCommit } from '../../shared/ports/store.ts'
import {
  answerCommit,
  artifactOf,
  carryOut,
  claim,
  commitOf,
  newRun,
  planCommit,
  plannedRun,
  read,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Whatever is done to one run, no row of any other run changes: of the same user or of another, whatever state it is in.

let fixture: DirectFixture
let before: unknown
/** Tables with rows of runs, and the column that says whose. */
let tables: { name: string; run: string }[]
const bystanders: string[] = []
const actor = someone()
const other = someone()
/** Whose subject is the actor's, at another issuer. */
const twin = { ...actor, issuer: 'https://twin.example/auth/v1', user_id_from: 'new' as const }
const sql: DirectFixture['sql'] = (...query) => fixture.sql(...query)

const LONG_S = 3600
const file = (path: string, letter: string) => ({ path, sha256: sha(letter), size: 1, mode: 0o644 })
const job = (run_id: string, step_number: number) => ({
  run_id,
  step_number,
  token_sha256: sha(`${step_number}`),
})
const terms = { limits: { max_steps: 20, timeout_seconds: 600 }, idempotency: null }
const question = () =>
  commitOf({ next: { kind: 'wait_user', question: 'Which?', steps: [modelStep('decide', 1)] } })
const asking = () =>
  commitOf({
    next: {
      kind: 'wait_approval',
      question: 'May I?',
      steps: ['a', 'b'].map((id) => toolStep(id, { needs_approval: true })),
    },
  })
const failure = () => commitOf({ status: 'failed', next: { kind: 'fail', code: 'X', message: 'No.' } })
const artifact = artifactOf('a.txt', 'k')

async function park(run_id: string, step_number: number): Promise<void> {
  const { step } = await claim(fixture, run_id, step_number)
  await fixture.step.parkStep({
    ...step,
    job_name: `run-${run_id}-${step_number}`,
    token_sha256: sha(`${step_number}`),
    deadline_seconds: LONG_S,
    check_seconds: LONG_S,
  })
}
/** Answers the first open approval. */
async function answer(principal: Principal, run_id: string, approved: boolean): Promise<void> {
  const [open] = (await read(fixture, principal, run_id)).approvals
  await fixture.front.answerApproval({
    principal,
    run_id,
    approval_id: open?.approval_id ?? 'none is open',
    approved,
    message: null,
  })
}
const TOOLS = ['a', 'b', 'c', 'd'].map((id) => toolStep(id))
const wrote = (path: string): StepCommit =>
  toolCommit({
    verified: [sha('e')],
    files: { put: [file(path, 'e')], removed: ['gone.txt'] },
    artifacts: [artifact],
  })
type State =
  | 'created'
  | 'queued'
  | 'planning'
  | 'executing'
  | 'group'
  | 'waiting'
  | 'paused'
  | 'pausedQuestion'
  | 'asked'
  | 'pausedAsked'
  | 'completed'
  | 'failed'
  | 'settling'
  | 'cancelledJob'
type Make = (who: Principal, fields: Partial<CreateRun>) => Promise<string>

/** A run in each state that a run can be in. */
const MAKE: Record<State, Make> = {
  created: async (who, fields) =>
    (await fixture.front.createRun(newRun(who, { ...fields, auto_start: false }))).run.id,
  queued: async (who, fields) => (await fixture.front.createRun(newRun(who, fields))).run.id,
  planning: async (who, fields) => {
    const { run } = await fixture.front.createRun(newRun(who, fields))
    await claim(fixture, run.id, 0, LONG_S)
    return run.id
  },
  executing: (who, fields) => plannedRun(fixture, who, fields),
  /** Step 2 is in work, 3 is out as a job, 4 was committed, 5 is due. */
  group: async (who, fields) => {
    const run = await runWithTools(fixture, who, TOOLS, fields)
    await claim(fixture, run, 2, LONG_S)
    await park(run, 3)
    await carryOut(fixture, run, 4, wrote('b.txt'))
    return run
  },
  waiting: async (who, fields) => {
    const run = await plannedRun(fixture, who, fields)
    await carryOut(fixture, run, 1, question())
    return run
  },
  paused: async (who, fields) => {
    const run = await plannedRun(fixture, who, fields)
    await fixture.front.pauseRun({ principal: who, run_id: run })
    return run
  },
  pausedQuestion: async (who, fields) => {
    const run = await MAKE.waiting(who, fields)
    await fixture.front.pauseRun({ principal: who, run_id: run })
    return run
  },
  /** Of its two calls, which both need a yes, the first was denied. */
  asked: async (who, fields) => {
    const run = await plannedRun(fixture, who, fields)
    await carryOut(fixture, run, 1, asking())
    await answer(who, run, false)
    return run
  },
  pausedAsked: async (who, fields) => {
    const run = await MAKE.asked(who, fields)
    await fixture.front.pauseRun({ principal: who, run_id: run })
    return run
  },
  completed: async (who, fields) => {
    const run = await runWithTools(fixture, who, [toolStep('t')], fields)
    await carryOut(fixture, run, 2, wrote('b.txt'))
    await carryOut(fixture, run, 3, answerCommit())
    return run
  },
  failed: async (who, fields) => {
    const run = await plannedRun(fixture, who, fields)
    await carryOut(fixture, run, 1, failure())
    return run
  },
  /** Its attempt was in flight: what it had reserved is not settled. */
  settling: async (who, fields) => {
    const run = await plannedRun(fixture, who, fields)
    await claim(fixture, run, 1, LONG_S)
    await fixture.front.cancelRun({ principal: who, run_id: run })
    return run
  },
  cancelledJob: async (who, fields) => {
    const run = await MAKE.group(who, fields)
    await fixture.front.cancelRun({ principal: who, run_id: run })
    return run
  },
}
const STATES = Object.keys(MAKE) as State[]
const FIELDS: Partial<CreateRun> = {
  // enough for all that is done here
  opening_credits: 10_000,
  files: [file('kept.txt', 'f'), file('gone.txt', '9')],
  connector_ids: ['github'],
  tags: ['batch'],
  warnings: ['w'],
}

beforeAll(async () => {
  fixture = await directFixture()
  for (const [who, tags] of [
    [actor, ['another']],
    [other, ['batch']],
  ] as const) {
    for (const state of STATES) {
      const idempotency = { key: state, body_sha256: sha('b') }
      const run = await MAKE[state](who, { ...FIELDS, tags: [...tags], idempotency })
      const ticket = { ticket_sha256: randomUUID(), run_id: run }
      await fixture.front.issueTicket({ principal: who, ...ticket, expires_at: '2099-01-01T00:00:00Z' })
      await fixture.front.useTicket(ticket)
      bystanders.push(run)
    }
  }
  bystanders.push(await MAKE.executing(twin, FIELDS))
  // nothing of theirs becomes due while the test runs
  await sql(`update public.agent_task_queue set publish_at = publish_at + interval '1 hour'`)
  await sql(`update private.jobs_to_remove set requested_at = requested_at + interval '1 hour'`)
  await sql(
    `insert into private.objects_to_remove (bucket, name, not_before) values ('agent-workspaces', $1, now() + interval '1 hour'),
       ('agent-outputs', $2, now() + interval '1 hour')`,
    [`${other.sub}/${sha('1')}`, `${actor.sub}/k`],
  )
  // the list of runs that the sweeper has yet to look at is its own
  tables = (await sql(
    `select a.attrelid::regclass::text as name, a.attname as run from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'private'::regnamespace) and c.relname <> 'runs_to_check'
       and (a.attname = 'run_id' or (a.attname = 'id' and c.relname = 'agent_runs')) order by 1`,
  )) as typeof tables
  expect(tables.length).toBeGreaterThan(12)
  before = await others()
}, 60_000)
afterAll(() => fixture.close())

/** Every row of the bystanders, and what the other user has besides. */
async function others(): Promise<unknown> {
  const texts = [
    ...tables.map(
      ({ name, run }) =>
        `select '${name}' as in, to_jsonb(t) as row from ${name} t where t.${run} = any ($1)`,
    ),
    `select 'balance', to_jsonb(t) from public.credit_balances t where user_id = $2`,
    `select 'who', to_jsonb(t) from private.principals t where (issuer, sub) <> ($3, $4)`,
    `select 'issuer', to_jsonb(t) from private.issuers t`,
    `select 'job', to_jsonb(t) from private.jobs_to_remove t where exists (select from unnest($1) r where job_name like 'run-' || r || '%')`,
    `select 'object', to_jsonb(t) from private.objects_to_remove t where not_before > now() + interval '30 minutes' and not_before < now() + interval '2 hours'`,
  ]
  return await sql(`${texts.join('\nunion all ')}\norder by 1, 2`, [
    bystanders,
    other.sub,
    actor.issuer,
    actor.sub,
  ])
}

/** Somebody else is in the middle of a change of each bystander: nobody has to wait for them. */
const holdOthers = () =>
  fixture.holding('select from private.runs where run_id = any ($1) for no key update', [bystanders])

type Act = (run: string) => Promise<unknown>
const ids = (run_id: string) => ({ principal: actor, run_id })
const held = (run: string, step_number: number) => claim(fixture, run, step_number, LONG_S)
const committing =
  (step_number: number, commit: () => StepCommit): Act =>
  async (run) =>
    fixture.step.commitStep({ ...(await held(run, step_number)).step, commit: commit() })
const bulk =
  (verb: 'stop' | 'pause' | 'resume' | 'retry' | 'delete'): Act =>
  (run) =>
    fixture.front
      .bulkRuns({ ...terms, principal: actor, tag: 'batch', verb, opening_credits: 1000 })
      // the runs of the tests before are of the tag as well
      .then(({ results }) => {
        expect(results).toContainEqual(expect.objectContaining({ run_id: run, ok: true }))
      })

const ticketed =
  (use: (ticket: { ticket_sha256: string; run_id: string }) => Promise<unknown>): Act =>
  async (run_id) => {
    const ticket = { ticket_sha256: randomUUID(), run_id }
    await fixture.front.issueTicket({ ...ids(run_id), ...ticket, expires_at: '2099-01-01T00:00:00Z' })
    await use(ticket)
  }
const due = (run: string) =>
  sql('update public.agent_task_queue set publish_at = now() where run_id = $1', [run])
const fork =
  (from_step: number, message: string | null): Act =>
  (run) =>
    fixture.front.forkRun({ ...ids(run), from_step, message, ...terms })
/** Whatever else was left by the acts before, so that the next pass of the sweeper has one thing to do. */
const sweep = (run: string) => due(run).then(() => fixture.step.sweepDue({ limit: 100 }))

const ACTS: [string, State, Act][] = [
  ['start', 'created', (run) => fixture.front.startRun(ids(run))],
  ['claim', 'executing', (run) => held(run, 1)],
  ['claim of a member', 'group', (run) => held(run, 5)],
  [
    'claim of an ended run',
    'cancelledJob',
    (run) => fixture.step.claimStep({ run_id: run, step_number: 3, lease_seconds: 5 }),
  ],
  [
    'claim of a paused run',
    'paused',
    (run) => fixture.step.claimStep({ run_id: run, step_number: 1, lease_seconds: 5 }),
  ],
  [
    'claim while it is switched off',
    'executing',
    async (run) => {
      const on = await fixture.switchOff({ tenant_id: null, tool_name: null })
      await fixture.step.claimStep({ run_id: run, step_number: 1, lease_seconds: 5 })
      await on()
    },
  ],
  [
    'attempts used up',
    'group',
    async (run) => {
      await sql('update private.steps set attempt = 5 where run_id = $1 and step_number = 5', [run])
      await fixture.step.claimStep({ run_id: run, step_number: 5, lease_seconds: 5 })
    },
  ],
  [
    'renew',
    'executing',
    async (run) => fixture.step.renewLease({ ...(await held(run, 1)).step, lease_seconds: LONG_S }),
  ],
  [
    'release',
    'executing',
    async (run) =>
      fixture.step.releaseStep({ ...(await held(run, 1)).step, delay_seconds: 9, error: 'x', free: true }),
  ],
  ['park', 'group', (run) => park(run, 5)],
  ['start of a job', 'group', (run) => fixture.step.startJob(job(run, 3))],
  [
    'look of a job',
    'group',
    (run) => fixture.step.checkJob({ ...job(run, 3), sha256: sha('7'), storing: true }),
  ],
  [
    'end of a job',
    'group',
    (run) => fixture.step.finishJob({ ...job(run, 3), body_sha256: sha('b'), commit: wrote('c.txt') }),
  ],
  ['commit of a plan', 'queued', committing(0, planCommit)],
  ['commit of tools', 'executing', committing(1, () => commitOf({ next: { kind: 'steps', steps: TOOLS } }))],
  ['commit of a member', 'group', committing(5, () => wrote('c.txt'))],
  ['commit of a question', 'executing', committing(1, question)],
  [
    'commit of a question below a pause',
    'executing',
    async (run) => {
      const { step } = await held(run, 1)
      await fixture.front.pauseRun(ids(run))
      await fixture.step.commitStep({ ...step, commit: question() })
    },
  ],
  [
    'commit of a plan below a pause',
    'queued',
    async (run) => {
      const { step } = await held(run, 0)
      await fixture.front.pauseRun(ids(run))
      await fixture.step.commitStep({ ...step, commit: planCommit() })
    },
  ],
  [
    'commit of the answer below a pause',
    'executing',
    async (run) => {
      const { step } = await held(run, 1)
      await fixture.front.pauseRun(ids(run))
      await fixture.step.commitStep({ ...step, commit: answerCommit() })
    },
  ],
  ['commit of the answer', 'executing', committing(1, answerCommit)],
  ['commit of a failure', 'executing', committing(1, failure)],
  [
    'commit beyond the limit',
    'executing',
    committing(1, () =>
      commitOf({ next: { kind: 'steps', steps: Array.from({ length: 60 }, () => toolStep('t')) } }),
    ),
  ],
  ['pause', 'group', (run) => fixture.front.pauseRun(ids(run))],
  ['resume', 'paused', (run) => fixture.front.resumeRun({ ...ids(run), user_input: null })],
  ['resume with a word', 'paused', (run) => fixture.front.resumeRun({ ...ids(run), user_input: 'go' })],
  [
    'resume to the question',
    'pausedQuestion',
    (run) => fixture.front.resumeRun({ ...ids(run), user_input: null }),
  ],
  [
    'answer below a pause',
    'pausedQuestion',
    (run) => fixture.front.resumeRun({ ...ids(run), user_input: 'red' }),
  ],
  ['answer', 'waiting', (run) => fixture.front.resumeRun({ ...ids(run), user_input: 'red' })],
  ['the last yes', 'asked', (run) => answer(actor, run, true)],
  ['the last no', 'asked', (run) => answer(actor, run, false)],
  ['the last yes below a pause', 'pausedAsked', (run) => answer(actor, run, true)],
  ['an answer in words', 'asked', (run) => fixture.front.resumeRun({ ...ids(run), user_input: 'neither' })],
  ['commit of calls that need a yes', 'executing', committing(1, asking)],
  ['stop', 'group', (run) => fixture.front.cancelRun(ids(run))],
  ['stop of a planning run', 'planning', (run) => fixture.front.cancelRun(ids(run))],
  [
    'settlement',
    'executing',
    async (run) => {
      const { step } = await held(run, 1)
      await fixture.front.cancelRun(ids(run))
      await fixture.step.settleAttempt({ ...step, tokens_used: 3, used: true })
    },
  ],
  [
    'settlement by the sweeper',
    'settling',
    async (run) => {
      await sql('update private.steps set lease_until = now() where run_id = $1', [run])
      await fixture.sweep()
    },
  ],
  [
    'deadline',
    'group',
    async (run) => {
      await sql('update private.runs set deadline_at = now() where run_id = $1', [run])
      await fixture.sweep()
    },
  ],
  ['publication by the sweeper', 'executing', sweep],
  ['removal of jobs', 'cancelledJob', sweep],
  ['retry', 'failed', (run) => fixture.front.retryRun({ ...ids(run), ...terms, opening_credits: 1 })],
  ['fork at a member', 'completed', fork(2, null)],
  ['fork with a word', 'completed', fork(3, 'else')],
  ['fork at the beginning', 'completed', fork(0, 'else')],
  ['fork of a question', 'waiting', fork(2, 'red')],
  [
    'fork of a run that a later design goes on with',
    'completed',
    async (run) => {
      await sql('update private.runs set protocol = 2 where run_id = $1', [run])
      const made = await fixture.front.forkRun({ ...ids(run), from_step: 3, message: null, ...terms })
      expect(await sql('select protocol from private.runs where run_id = $1', [made.run.id])).toEqual([
        { protocol: 2 },
      ])
    },
  ],
  [
    'retry of a step',
    'executing',
    async (run) => {
      await fixture.step.releaseStep({
        ...(await held(run, 1)).step,
        delay_seconds: 99,
        error: 'x',
        free: false,
      })
      await fixture.front.retryStep({ ...ids(run), step_number: 1, ...terms })
    },
  ],
  ['delete', 'completed', (run) => fixture.front.deleteRun(ids(run))],
  ['delete of a settling run', 'settling', (run) => fixture.front.deleteRun(ids(run))],
  [
    'removal of objects',
    'completed',
    async (run) => {
      await fixture.front.deleteRun(ids(run))
      const { objects_to_remove = [] } = await fixture.step.sweepDue({ limit: 100 })
      await fixture.step.objectsRemoved({ objects: objects_to_remove })
      await sql(`update private.objects_to_remove set removed_at = removed_at - interval '1 hour'`)
      await fixture.sweep()
    },
  ],
  [
    'removal of a run that is marked',
    'completed',
    async (run) => {
      await sql('update public.agent_runs set deleted_at = now() where id = $1', [run])
      await fixture.sweep()
      expect(await sql('select from public.agent_runs where id = $1', [run])).toEqual([])
    },
  ],
  [
    'removal of artifacts that have expired',
    'completed',
    async (run) => {
      await sql('update public.agent_artifacts set expires_at = now() where run_id = $1', [run])
      await fixture.sweep()
      expect(await sql('select from public.agent_artifacts where run_id = $1', [run])).toEqual([])
    },
  ],
  [
    'create in another tenant',
    'executing',
    () => fixture.front.createRun(newRun({ ...actor, tenant_id: randomUUID() })),
  ],
  ['ticket', 'executing', ticketed((ticket) => fixture.front.useTicket(ticket))],
  ['end of a ticket', 'completed', ticketed((ticket) => fixture.front.closeTicket(ticket))],
  ['pause of a tag', 'executing', bulk('pause')],
  ['resume of a tag', 'paused', bulk('resume')],
  ['stop of a tag', 'group', bulk('stop')],
  ['retry of a tag', 'failed', bulk('retry')],
  ['delete of a tag', 'completed', bulk('delete')],
]
it.each(ACTS)('%s', async (_name, state, act) => {
  const run = await MAKE[state](actor, {
    ...FIELDS,
    idempotency: { key: randomUUID(), body_sha256: sha('b') },
  })
  const release = await holdOthers()
  await act(run).finally(release)
  expect(await others()).toEqual(before)
})

it('and all of it together breaks no promise', async () => {
  expect(await fixture.violations()).toEqual([])
})
