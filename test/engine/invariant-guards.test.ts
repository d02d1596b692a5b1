import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  answerCommit,
  carryOut,
  claim,
  commitOf,
  newRun,
  plannedRun,
  runWithTools,
  sha,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { type DirectFixture, directFixture } from './direct-fixture.ts'

// Each invariant is said of the run that breaks it, and of no other.

let f: DirectFixture
beforeAll(async () => {
  f = await directFixture()
})
afterEach(async () => {
  expect(await f.violations()).toEqual([])
})
afterAll(() => f.close())

const who = someone()
const file = (path: string, letter: string) => ({ path, sha256: sha(letter), size: 1, mode: 0o644 })

describe('an invariant', () => {
  /** Which run is made unsound, how, and what is then said of it; of no other run anything may be said. */
  const BREAKS: [run: string, sql: string, ...says: string[]][] = [
    [
      'work',
      `drop index private.credit_ledger_step;
       insert into private.credit_ledger (user_id, run_id, step_number, kind, available) values (:user, :run, 1, 'refund', 0)`,
      'one settlement a step',
    ],
    [
      'work',
      `update public.agent_steps set status = 'skipped' where run_id = :run and step_number = 3`,
      'one result a step',
    ],
    // so many as counted, but not the last; and the last, but one too few
    [
      'work',
      'update private.steps set step_number = 9 where run_id = :run and step_number = 0',
      'step numbers without gaps',
    ],
    [
      'work',
      'delete from private.steps where run_id = :run and step_number = 0',
      'step numbers without gaps',
    ],
    [
      'work',
      `update public.agent_steps set completed_at = completed_at + interval '1 hour' where run_id = :run and step_number = 0`,
      'groups in order',
    ],
    [
      'asking',
      'update private.steps set fence = 1 where run_id = :run and step_number = 2',
      'no call without its approval',
    ],
    ['work', 'update private.runs set deadline_at = null where run_id = :run', 'a reason to wake'],
    ['asking', 'update private.runs set deadline_at = null where run_id = :run', 'a reason to wake'],
    ['work', 'update public.agent_task_queue set publish_at = null where run_id = :run', 'a reason to wake'],
    [
      'ended',
      'update private.runs set deadline_at = now() where run_id = :run',
      'an ended run holds nothing',
    ],
    [
      'ended',
      `insert into public.agent_task_queue (run_id, step_number, tenant_id, epoch, due_at) values (:run, 0, :user, 0, now())`,
      'an ended run holds nothing',
      'an open step is on the queue',
    ],
    [
      'ended',
      `insert into private.waits (run_id, step_number, kind, deadline_at) values (:run, 0, 'user', now())`,
      'an ended run holds nothing',
    ],
    [
      'ended',
      `update private.steps set state = 'open' where run_id = :run and step_number = 0`,
      'one result a step',
      'an ended run holds nothing',
      'an open step is on the queue',
    ],
    [
      'work',
      'delete from public.agent_task_queue where run_id = :run and step_number = 4',
      'an open step is on the queue',
    ],
    [
      'work',
      'update private.runs set group_open = group_open + 1 where run_id = :run',
      'the group counter is its open members',
    ],
    [
      'work',
      'update public.agent_task_queue set slot = null where run_id = :run',
      'a call waits for another of its run',
    ],
    [
      'work',
      `update public.agent_task_queue set publish_at = now() - interval '16 minutes' where run_id = :run and step_number = 2`,
      'no run is silent',
    ],
    [
      'ended',
      `insert into private.credit_ledger (user_id, run_id, step_number, kind, available) values (:user, :run, 9, 'reserve', -1)`,
      'a settled run owes nothing',
    ],
    [
      'work',
      'update public.agent_runs set total_credits_used = total_credits_used + 1 where id = :run',
      'credits of the run are its charges',
    ],
    ['work', 'delete from public.agent_task_logs where run_id = :run and seq = 2', 'log numbers are dense'],
    [
      'work',
      `update public.agent_task_logs l set seq = seq + 1 where run_id = :run
       and seq = (select log_seq from private.runs where run_id = l.run_id)`,
      'log numbers are dense',
    ],
    [
      'work',
      `update public.agent_task_logs l set created_at = (
         select created_at from public.agent_task_logs where run_id = l.run_id and seq = 1) where run_id = :run and seq = 2`,
      'log times rise',
    ],
    // what is allowed is begun, a job that ended is no job, and an artifact of one's own is one's own
    [
      'asking',
      `update private.approvals set approved = true, answered_at = now() where run_id = :run;
       update private.steps set fence = 1 where run_id = :run and step_number = 2`,
    ],
    [
      'ended',
      `insert into private.waits (run_id, step_number, kind, deadline_at, finished_at) values (:run, 0, 'job', now(), now())`,
    ],
    ['work', 'insert into public.agent_artifacts (run_id, user_id) values (:run, :user)'],
    ...['agent_steps', 'agent_messages', 'agent_task_logs'].map((table): [string, string, string] => [
      'work',
      `update public.${table} set user_id = gen_random_uuid() where id = (select id from public.${table} where run_id = :run limit 1)`,
      'one owner a run',
    ]),
    [
      'work',
      `insert into public.agent_artifacts (run_id, user_id) values (:run, gen_random_uuid())`,
      'one owner a run',
    ],
    [
      'work',
      `drop index private.workspace_files_current;
       insert into private.workspace_files select run_id, path, 1, null, sha256, size, mode from private.workspace_files where run_id = :run`,
      'one current version a file',
    ],
    // an earlier version of it is none too many
    [
      'work',
      'insert into private.workspace_files select run_id, path, -9, -1, sha256, size, mode from private.workspace_files where run_id = :run',
    ],
    ...(
      [
        ['agent-workspaces', 'now()', 'bytes in use are not being removed'],
        ['agent-workspaces', 'null'],
        ['agent-outputs', 'now()'],
      ] as const
    ).map(([bucket, handed, ...says]): [string, string, ...string[]] => [
      'work',
      `insert into private.objects_to_remove (bucket, name, handed_at)
       select '${bucket}', :user || '/' || sha256, ${handed} from private.workspace_files where run_id = :run`,
      ...says,
    ]),
    ...['total_steps', 'completed_steps', 'failed_steps'].map((counter): [string, string, string] => [
      'work',
      `update public.agent_runs set ${counter} = ${counter} + 1 where id = :run`,
      'counters are what they count',
    ]),
  ]

  type Said = (change: string, question: string) => Promise<unknown[]>
  /** What is said after each change, which is undone again. */
  async function tryOut(work: (said: Said) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: f.database.url('postgres') })
    await client.connect()
    try {
      await work(async (change, question) => {
        await client.query(`begin; ${change}`)
        const { rows } = await client.query(question)
        await client.query('rollback')
        return rows
      })
    } finally {
      await client.end()
    }
  }

  it('is said of the run that breaks it, and of no other', async () => {
    const user = someone()
    const parallel = { run: 1, tenant: 1, inline_tools: [] }
    const calls = ['a', 'b', 'c'].map((id) => toolStep(id))
    // one call at work and one that waits for it; in the other run one that waits for the tenant, and one for that
    const work = await runWithTools(f, user, calls, { files: [file('y', '2')] })
    const other = await runWithTools(f, user, calls, { files: [file('y', '1')] })
    const strange = await runWithTools(f, who, calls, { files: [file('y', '2')] })
    for (const run_id of [work, other])
      for (const step_number of [2, 3])
        await f.step.claimStep({ run_id, step_number, lease_seconds: 60, parallel })
    const ended = await runWithTools(f, user, [toolStep('a')])
    await carryOut(f, ended, 2, toolCommit())
    await carryOut(f, ended, 3, answerCommit())
    const settling = await plannedRun(f, user)
    await claim(f, settling, 1)
    await f.front.cancelRun({ principal: user, run_id: settling })
    const asking = await plannedRun(f, user)
    const steps = [toolStep('a', { needs_approval: true })]
    await carryOut(f, asking, 1, commitOf({ next: { kind: 'wait_approval', question: '?', steps } }))
    const runs: Record<string, string> = { work, other, strange, ended, settling, asking }
    const question = `select r.run_id, v.invariant from private.runs r, private.run_violations(r.run_id) v
      where r.run_id in (${Object.values(runs).map((id) => `'${id}'`)}) order by v.invariant`
    await tryOut(async (said) => {
      expect(await said('', question)).toEqual([])
      // rows from before there was this engine are not ours to judge
      const old = crypto.randomUUID()
      expect(
        await said(
          `insert into public.agent_runs (id, user_id) values ('${old}', '${user.sub}');
           insert into public.agent_task_logs (run_id, user_id, seq) values ('${old}', '${user.sub}', 1), ('${old}', '${user.sub}', 2)`,
          `select * from private.run_violations('${old}')`,
        ),
      ).toEqual([])
      for (const [run, sql, ...says] of BREAKS) {
        const run_id = runs[run] ?? ''
        const change = sql.replaceAll(':run', `'${run_id}'`).replaceAll(':user', `'${user.sub}'`)
        expect(await said(change, question), sql).toEqual(
          says.toSorted().map((invariant) => ({ run_id, invariant })),
        )
      }
    })
  })

  it.each([
    ['available_credits = available_credits - 1', ''],
    ['used_credits = used_credits + 1', ''],
    // the ledger agrees, but nobody may owe
    [
      'available_credits = -1',
      `alter table public.credit_balances drop constraint credit_balances_available_credits_check;
       insert into private.credit_ledger (user_id, kind, available)
       select user_id, 'opening', -10000 - available_credits * 10000 from public.credit_balances where user_id = :user;`,
    ],
  ])('of a balance is said of its user alone: %s', async (change, before) => {
    const [one, two] = [someone(), someone()]
    for (const user of [one, two]) await f.front.createRun(newRun(user))
    await tryOut(async (said) =>
      expect(
        await said(
          `${before.replace(':user', `'${one.sub}'`)} update public.credit_balances set ${change} where user_id = '${one.sub}'`,
          `select v.* from unnest(array['${one.sub}', '${two.sub}']::uuid[]) u, private.balance_violations(u) v`,
        ),
      ).toEqual([{ invariant: 'balance is the sum of the ledger', run_id: null, detail: one.sub }]),
    )
  })
})
