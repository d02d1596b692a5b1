import type { V1Job, V1JobCondition, V1Pod, V1PodStatus } from '@kubernetes/client-node'
import { expect, test } from 'vitest'
import { describeJob, isWorking } from './describe-job.ts'

const NOW = Date.parse('2026-01-01T00:10:00Z')
const at = (secondsAgo: number): Date => new Date(NOW - secondsAgo * 1000)

function job(conditions: Partial<V1JobCondition>[] = [], ready = 0): V1Job {
  return {
    metadata: { name: 'j', creationTimestamp: at(42) },
    status: { ready, conditions: conditions.map((given) => ({ type: '', status: 'True', ...given })) },
  }
}
const pod = (status: V1PodStatus, deletedSecondsAgo?: number): V1Pod => ({
  metadata: deletedSecondsAgo === undefined ? {} : { deletionTimestamp: at(deletedSecondsAgo) },
  spec: { nodeName: 'n1', containers: [] },
  status,
})
const waiting = (reason: string, message = ''): V1PodStatus => ({
  phase: 'Pending',
  initContainerStatuses: [
    {
      name: 'tool',
      image: 'i',
      imageID: '',
      ready: false,
      restartCount: 0,
      state: { waiting: { reason, message } },
    },
  ],
})
const runner = (terminated: {
  exitCode: number
  signal?: number
  reason?: string
  message?: string
}): V1PodStatus => ({
  phase: 'Failed',
  containerStatuses: [
    { name: 'runner', image: 'i', imageID: '', ready: false, restartCount: 0, state: { terminated } },
  ],
})
const FAILED = { type: 'Failed', reason: 'PodFailurePolicy', message: 'Container runner failed' }

test.each([
  [
    'no pod yet',
    job(),
    [],
    { state: 'pending', waitedSeconds: 42, reason: expect.stringContaining('quota') },
  ],
  ['being made', job(), [pod({ phase: 'Pending' })], { state: 'pending', waitedSeconds: 42 }],
  ['a normal wait', job(), [pod(waiting('PodInitializing'))], { state: 'pending', waitedSeconds: 42 }],
  [
    'a bad image name',
    job(),
    [pod(waiting('InvalidImageName', 'bad'))],
    {
      state: 'pending',
      waitedSeconds: 42,
      reason: 'the name of its image is not valid: bad',
      isHopeless: true,
    },
  ],
  [
    'no image',
    job(),
    [pod(waiting('ImagePullBackOff'))],
    { state: 'pending', waitedSeconds: 42, reason: 'its image cannot be pulled', isHopeless: false },
  ],
  [
    'no place',
    job(),
    [
      pod({
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3 nodes' }],
      }),
    ],
    { state: 'pending', waitedSeconds: 42, reason: 'there is no place for it in the cluster: 0/3 nodes' },
  ],
  ['at work', job(), [pod({ phase: 'Running' })], { state: 'running' }],
  ['over, the job not yet', job(), [pod({ phase: 'Succeeded' })], { state: 'running' }],
  ['being stopped', job([{ type: 'FailureTarget' }]), [], { state: 'running' }],
  ['being removed', job(), [pod({ phase: 'Running' }, 10)], { state: 'running' }],
  [
    'on a lost node',
    job(),
    [pod({ phase: 'Running' }, 40)],
    { state: 'failed', reason: 'its node n1 does not answer' },
  ],
  ['done', job([{ type: 'Complete' }]), [], { state: 'succeeded', reason: 'its runner ended with status 0' }],
])('%s', (_name, given, pods, state) => {
  expect(describeJob(given, pods, NOW)).toEqual(state)
})

test.each([
  [
    'deadline',
    { ...FAILED, reason: 'DeadlineExceeded' },
    [],
    'it did not end within its time and was stopped',
  ],
  ['deleted', { ...FAILED, reason: 'BackoffLimitExceeded' }, [], 'its pod was deleted'],
  [
    'disrupted',
    { ...FAILED, message: 'Pod x has condition DisruptionTarget matching' },
    [],
    /removed by the cluster/,
  ],
  [
    'evicted',
    FAILED,
    [pod({ phase: 'Failed', reason: 'Evicted', message: 'low on memory' })],
    /evicted by its node: low/,
  ],
  [
    'preempted',
    FAILED,
    [pod({ conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }] })],
    /preempted by a more important/,
  ],
  [
    'out of memory',
    FAILED,
    [pod(runner({ exitCode: 137, reason: 'OOMKilled' }))],
    'the runner ran out of memory',
  ],
  ['killed', FAILED, [pod(runner({ exitCode: 137, signal: 9 }))], 'its runner was killed by signal 9'],
  [
    'its last words',
    FAILED,
    [pod(runner({ exitCode: 1, message: 'x\n{"time":"t","message":"the door answered 401"}\n' }))],
    'its runner ended with status 1: the door answered 401',
  ],
  ['silent', FAILED, [pod({ phase: 'Failed' })], 'PodFailurePolicy: Container runner failed'],
])('failed: %s', (_name, condition, pods, reason) => {
  expect(describeJob(job([condition]), pods, NOW)).toEqual({
    state: 'failed',
    reason: typeof reason === 'string' ? reason : expect.stringMatching(reason),
  })
})

test('pods are asked for only when it is not simply at work', () => {
  expect(isWorking(job([], 1))).toBe(true)
  expect(isWorking(job([], 0))).toBe(false)
  expect(isWorking(job([{ type: 'FailureTarget' }], 1))).toBe(false)
})
