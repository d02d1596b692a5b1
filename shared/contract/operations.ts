import * as z from 'zod'
import { errorBody } from './error.ts'
import {
  approvalBody,
  bulkAnswer,
  bulkBody,
  cancelBody,
  createAnswer,
  createBody,
  forkBody,
  resumeBody,
  retryStepBody,
  runsAnswer,
  verbAnswer,
  verbBody,
} from './execute.ts'
import {
  jobBlobAnswer,
  jobOutputAnswer,
  jobOutputRequest,
  jobResultAnswer,
  jobResultRequest,
  jobStartAnswer,
  jobStartRequest,
} from './job.ts'
import { logsAnswer, ticketAnswer, ticketBody } from './logs.ts'
import { statusAnswer, statusBody } from './status.ts'
import { stepMessage } from './step.ts'

/** Schemas by media type; null: not JSON. */
export type Schemas = Readonly<Record<string, z.ZodType | null>>

export interface Operation {
  method: 'get' | 'post' | 'put'
  paths: readonly string[]
  tag: string
  summary: string
  /** Names of security schemes, one of which is enough; empty: open to all. */
  security: readonly string[]
  query?: Readonly<Record<string, string>>
  headers?: Readonly<Record<string, string>>
  body?: Schemas
  answers: Readonly<Record<string, { description: string; content?: Schemas }>>
  /** Statuses answered with the error body. */
  errors: readonly number[]
}

const json = (schema: z.ZodType): Schemas => ({ 'application/json': schema })
/** Of whatever is asked: another verb, a request that stops on its way, headers that are too large. */
const ANY = [405, 408, 431]
const USER_ERRORS = [...ANY, 400, 401, 404, 413, 415, 429, 500, 503]
/** What became of a message; more fields are for the log of QStash. */
const outcome = z.looseObject({ outcome: z.string() })
const probe = z.object({ status: z.string(), version: z.string(), service: z.string() })
const STREAM = { 'text/event-stream': null }
const RESUME = {
  last_event_id: 'Goes on exactly after this event id, as the header Last-Event-ID does.',
  idle: 'end: the stream ends itself after a while in which the run waits.',
}
const JOB = '/agent/step/job/{run_id}/{step_number}'

/** Every route of the four services on the shared host. */
export const operations: readonly Operation[] = [
  {
    method: 'post',
    paths: ['/agent/execute', '/functions/v1/agent-execute', '/functions/v1/agent-execute-phase2'],
    tag: 'execute',
    summary:
      'Create, start, stop, retry, resume, pause, fork or delete a run, or all runs of a tag; approve or deny a tool call that waits for it. Without an action, a body with a prompt is a create.',
    security: ['user'],
    headers: {
      'idempotency-key':
        'On create, retry and fork: a repeat within 24 hours gets the first answer, or 409 when its run was deleted.',
    },
    body: json(z.union([createBody, verbBody, resumeBody, retryStepBody, forkBody, approvalBody, bulkBody])),
    answers: {
      200: {
        description:
          'start, stop, resume, pause, delete, approve, deny, retry of a step in place; or a verb for a tag',
        content: json(z.union([verbAnswer, bulkAnswer])),
      },
      201: { description: 'create, retry, fork', content: json(createAnswer) },
    },
    errors: [...ANY, 400, 401, 402, 404, 409, 413, 415, 429, 500, 503],
  },
  {
    method: 'post',
    paths: ['/agent/cancel'],
    tag: 'execute',
    summary: 'Stop a run.',
    security: ['user'],
    body: json(cancelBody),
    answers: { 200: { description: 'Cancelled', content: json(verbAnswer) } },
    errors: USER_ERRORS,
  },
  {
    method: 'get',
    paths: ['/agent/runs'],
    tag: 'execute',
    summary: "The caller's own runs, newest first.",
    security: ['user'],
    query: {
      limit: '1 to 500, default 50',
      before: 'A next_cursor, or an ISO time',
      status: 'Only runs of this status',
    },
    answers: { 200: { description: 'Runs', content: json(runsAnswer) } },
    errors: [...ANY, 400, 401, 429, 500, 503],
  },
  {
    method: 'post',
    paths: ['/agent/status', '/functions/v1/agent-status', '/functions/v1/agent-status-phase2'],
    tag: 'status',
    summary: 'How a run stands, with its steps, messages, files and log.',
    security: ['user'],
    body: json(statusBody),
    answers: { 200: { description: 'The run', content: json(statusAnswer) } },
    errors: USER_ERRORS,
  },
  {
    method: 'get',
    paths: ['/agent/logs', '/functions/v1/agent-logs', '/functions/v1/agent-logs-phase2'],
    tag: 'logs',
    summary: "A run's log: one page (mode=polling), or a stream of Plain_* events (mode=stream).",
    security: ['user', 'ticket'],
    query: {
      run_id: 'Required',
      mode: 'polling (default) or stream',
      since: 'A next_cursor, or an ISO time: rows after it',
      limit: '1 to 500, default 100',
      ...RESUME,
    },
    headers: { 'last-event-id': 'Goes on exactly after this event id.' },
    answers: {
      200: { description: 'A page, or a stream', content: { ...json(logsAnswer), ...STREAM } },
      204: { description: 'The end of the run was delivered before' },
    },
    errors: [...ANY, 400, 401, 404, 429, 500, 503],
  },
  {
    method: 'get',
    paths: ['/agent/run/{run_id}/stream', '/agent/stream/{run_id}'],
    tag: 'logs',
    summary: 'A run as a stream of named events: Event_* below.',
    security: ['user', 'ticket'],
    query: { ...RESUME, resume: 'true: the stream ends cleanly before the time limit of a request' },
    headers: { 'last-event-id': 'Goes on exactly after this event id.' },
    answers: {
      200: { description: 'Events', content: STREAM },
      204: { description: 'The end of the run was delivered before' },
    },
    errors: [...ANY, 400, 401, 404, 429, 500, 503],
  },
  {
    method: 'post',
    paths: ['/agent/stream-ticket'],
    tag: 'logs',
    summary: "A ticket for one run's stream, for readers that cannot send headers.",
    security: ['user'],
    body: json(ticketBody),
    answers: { 200: { description: 'Ticket', content: json(ticketAnswer) } },
    errors: USER_ERRORS,
  },
  {
    method: 'post',
    paths: ['/agent/step'],
    tag: 'step',
    summary: 'One step of a run is due. Called by QStash.',
    security: ['qstash'],
    body: json(stepMessage),
    answers: {
      200: { description: 'Done, or nothing to do', content: json(outcome) },
      489: { description: 'Not a message of ours; not to be tried again', content: json(errorBody) },
    },
    errors: [...ANY, 400, 401, 413, 500, 503],
  },
  {
    method: 'post',
    paths: ['/agent/step/failure'],
    tag: 'step',
    summary: 'QStash gave a message up.',
    security: ['qstash'],
    answers: { 200: { description: 'Noted', content: json(outcome) } },
    errors: [...ANY, 400, 401, 413],
  },
  {
    method: 'post',
    paths: ['/agent/step/sweep'],
    tag: 'step',
    summary: 'Publish what is due. Called by the database.',
    security: ['sweep'],
    answers: { 200: { description: 'Published', content: json(z.looseObject({ published: z.int() })) } },
    errors: [...ANY, 400, 401, 413, 500, 503],
  },
  {
    method: 'post',
    paths: [`${JOB}/start`],
    tag: 'step',
    summary: 'What a tool job is to do.',
    security: ['job'],
    body: json(jobStartRequest),
    answers: { 200: { description: 'Work', content: json(jobStartAnswer) } },
    errors: [...ANY, 400, 401, 409, 413, 500, 503],
  },
  {
    method: 'get',
    paths: [`${JOB}/blob/{sha256}`],
    tag: 'step',
    summary: 'Bytes of a workspace file.',
    security: ['job'],
    answers: { 200: { description: 'Bytes', content: { 'application/octet-stream': null } } },
    errors: [...ANY, 401, 404, 500, 503],
  },
  {
    method: 'put',
    paths: [`${JOB}/blob/{sha256}`],
    tag: 'step',
    summary: 'Store the bytes of a produced file.',
    security: ['job'],
    body: { 'application/octet-stream': null },
    answers: { 200: { description: 'Receipt', content: json(jobBlobAnswer) } },
    errors: [...ANY, 400, 401, 404, 413, 500, 503],
  },
  {
    method: 'post',
    paths: [`${JOB}/output`],
    tag: 'step',
    summary: 'Terminal output while a job runs.',
    security: ['job'],
    body: json(jobOutputRequest),
    answers: { 200: { description: 'Taken', content: json(jobOutputAnswer) } },
    errors: [...ANY, 400, 401, 413, 500, 503],
  },
  {
    method: 'post',
    paths: [`${JOB}/result`],
    tag: 'step',
    summary: 'The end of a job.',
    security: ['job'],
    body: json(jobResultRequest),
    answers: { 200: { description: 'Committed', content: json(jobResultAnswer) } },
    errors: [...ANY, 400, 401, 409, 413, 500, 503],
  },
  {
    method: 'get',
    paths: ['/health'],
    tag: 'probes',
    summary: 'The process answers.',
    security: [],
    answers: { 200: { description: 'Healthy', content: json(probe) } },
    errors: ANY,
  },
  {
    method: 'get',
    paths: ['/ready'],
    tag: 'probes',
    summary: 'The service can work.',
    security: [],
    answers: { 200: { description: 'Ready', content: json(probe) } },
    errors: [...ANY, 503],
  },
  {
    method: 'get',
    paths: ['/health/liveness'],
    tag: 'probes',
    summary: "The process answers, for the platform's probe.",
    security: [],
    answers: { 200: { description: 'Alive', content: json(z.object({ status: z.literal('alive') })) } },
    errors: ANY,
  },
  {
    method: 'get',
    paths: ['/health/readiness'],
    tag: 'probes',
    summary: "The service can work, for the platform's probe.",
    security: [],
    answers: { 200: { description: 'Ready', content: json(probe) } },
    errors: [...ANY, 503],
  },
  {
    method: 'get',
    paths: ['/openapi.json'],
    tag: 'probes',
    summary: 'This document.',
    security: [],
    answers: { 200: { description: 'OpenAPI 3.1', content: json(z.looseObject({ openapi: z.string() })) } },
    errors: ANY,
  },
  {
    method: 'get',
    paths: ['/docs'],
    tag: 'probes',
    summary: 'A page that shows this document.',
    security: [],
    answers: { 200: { description: 'Page', content: { 'text/html': null } } },
    errors: ANY,
  },
  {
    method: 'get',
    paths: ['/docs/{asset}'],
    tag: 'probes',
    summary: 'Scripts and styles of the page.',
    security: [],
    answers: { 200: { description: 'File', content: { 'text/javascript': null, 'text/css': null } } },
    errors: [...ANY, 404],
  },
]
