import { AppError } from '../../shared/core/errors.ts'
import { answerApproval } from '../../shared/engine/answer-approval.ts'
import { bulkRuns } from '../../shared/engine/bulk-runs.ts'
import { cancelRun } from '../../shared/engine/cancel-run.ts'
import { createRun } from '../../shared/engine/create-run.ts'
import { deleteRun } from '../../shared/engine/delete-run.ts'
import { forkRun } from '../../shared/engine/fork-run.ts'
import { pauseRun } from '../../shared/engine/pause-run.ts'
import { resumeRun } from '../../shared/engine/resume-run.ts'
import { retryRun } from '../../shared/engine/retry-run.ts'
import { retryStep } from '../../shared/engine/retry-step.ts'
import { startRun } from '../../shared/engine/start-run.ts'
import type { Action, Scenario } from './scenarios.ts'
import type { World } from './world.ts'

const MAX_TRIES = 4
const HASH = 'b'.repeat(64)
const TAG = 'crash'

function options(scenario: Scenario, key: string) {
  return {
    limits: { max_steps: scenario.maxSteps ?? 50, timeout_seconds: 100_000 },
    openingCredits: scenario.openingCredits ?? 100,
    idempotency: { key, body_sha256: HASH },
  }
}

/** Repeats a verb as a careful client does, until it was answered; a state that does not allow it is an answer, too,
 * and so is a run that an earlier try has deleted. */
async function repeat(work: () => Promise<void>): Promise<boolean> {
  for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
    try {
      await work()
      return true
    } catch (error) {
      if (error instanceof AppError && ['invalid_state', 'run_not_found'].includes(error.code)) return true
      if (error instanceof AppError && error.code !== 'unavailable') throw error
    }
  }
  return false
}

export async function create(world: World, scenario: Scenario): Promise<void> {
  const done = await repeat(async () => {
    const { run } = await world.asFront((ports) =>
      createRun(
        ports,
        world.caller,
        {
          action: 'create',
          prompt: 'please',
          mode: 'custom',
          project_id: null,
          connector_ids: [],
          metadata: {},
          memory_context: null,
          tags: [TAG],
          attachments: [],
          auto_start: scenario.autoStart ?? true,
        },
        options(scenario, 'create'),
      ),
    )
    world.runIds.push(run.id)
  })
  if (!done) throw new Error('the run could not be created')
}

/** True when the verb was answered. */
export function act(world: World, scenario: Scenario, action: Action): Promise<boolean> {
  const { caller, runId } = world
  return repeat(async () => {
    switch (action.verb) {
      case 'start':
        await world.asFront((ports) => startRun(ports, caller, runId))
        return
      case 'cancel':
        await world.asFront((ports) => cancelRun(ports, caller, runId))
        return
      case 'pause':
        await world.asFront((ports) => pauseRun(ports, caller, runId))
        return
      case 'resume':
        await world.asFront((ports) =>
          resumeRun(ports, caller, { run_id: runId, user_input: action.input ?? null }),
        )
        return
      case 'approve':
      case 'deny': {
        const approval_id = await world.approvalId()
        const answer = { approval_id, run_id: runId, action: action.verb, message: null }
        await world.asFront((ports) => answerApproval(ports, caller, answer))
        return
      }
      case 'fork': {
        const command = { run_id: runId, from_step: action.step ?? 0, message: action.input ?? null }
        const { run } = await world.asFront((ports) =>
          forkRun(ports, caller, command, options(scenario, 'fork')),
        )
        world.runIds.push(run.id)
        return
      }
      case 'retry_step': {
        const command = { run_id: runId, step_number: action.step ?? 0 }
        const { run } = await world.asFront((ports) =>
          retryStep(ports, caller, command, options(scenario, 'retry_step')),
        )
        world.runIds.push(run.id)
        return
      }
      case 'delete':
        await world.asFront((ports) => deleteRun(ports, caller, runId))
        return
      case 'stop_tag':
        await world.asFront((ports) =>
          bulkRuns(ports, caller, { verb: 'stop', tag: TAG }, options(scenario, 'bulk')),
        )
        return
      case 'retry': {
        const { run } = await world.asFront((ports) =>
          retryRun(ports, caller, runId, options(scenario, 'retry')),
        )
        world.runIds.push(run.id)
      }
    }
  })
}
