import {
  type AssistantBlock,
  type Model,
  ModelError,
  type ModelRequest,
  type ModelTurn,
} from '../../shared/ports/model.ts'
import { callPort, type Surroundings } from './call-port.ts'
import { checkConversation } from './check-conversation.ts'
import type { Fault } from './faults.ts'
import type { Process } from './kernel.ts'

/** A provider with everything that providers do. Its turns are drawn, not thought. */
export class SimModel {
  readonly #around: Surroundings
  requests = 0

  constructor(around: Surroundings) {
    this.#around = around
  }

  for(process: Process): Model {
    const { kernel, random, faults } = this.#around
    return {
      turn: (request, { signal, onText }) => {
        this.requests += 1
        const fault = checkConversation(request.messages)
        if (fault !== undefined) this.#around.broken('the model takes the conversation', fault)
        const aborted = () => new ModelError('aborted', 'the turn was aborted')
        return new Promise((resolve, reject) => {
          if (signal.aborted) return reject(aborted())
          signal.addEventListener('abort', () => reject(aborted()), { once: true })
          if (faults.strikes('model.silence', 0.3)) return
          callPort(this.#around, process, 'model.turn', () => undefined).then(() => {
            const failure = this.#failure()
            const took_ms = random.between(100, random.chance(0.1) ? 30_000 : 4000)
            kernel.after(
              took_ms,
              () => {
                if (signal.aborted) return
                onText('text')
                if (failure === undefined) resolve(this.#turn(request))
                else reject(failure)
              },
              process,
            )
          }, reject)
        })
      },
    }
  }

  #failure(): ModelError | undefined {
    const { faults, random } = this.#around
    const retryAfterSeconds = random.between(1, 90)
    if (faults.strikes('model.rate_limited'))
      return new ModelError('rate_limited', '429', { retryAfterSeconds })
    if (faults.strikes('model.rate_limited_no_hint')) return new ModelError('rate_limited', '429')
    if (faults.strikes('model.overloaded')) return new ModelError('overloaded', '529')
    if (faults.strikes('model.cut')) return new ModelError('unavailable', 'the stream was cut')
    if (faults.strikes('model.spend_cap', 0.05)) return new ModelError('spend_cap', 'spend cap')
    return undefined
  }

  #turn(request: ModelRequest): ModelTurn {
    const { faults, random } = this.#around
    const answer = (blocks: AssistantBlock[], stopReason: string): ModelTurn => ({
      blocks,
      stopReason,
      usage: {
        inputTokens: random.between(1, 1000),
        outputTokens: 10,
        cacheReadTokens: 0,
        cacheWriteTokens: 0,
      },
      model: 'sim',
    })
    const said: AssistantBlock = { type: 'text', text: `text ${random.between(0, 999)}` }
    const stops: [Fault, AssistantBlock[], string][] = [
      ['model.refusal', [said], 'refusal'],
      ['model.empty', [], 'end_turn'],
      ['model.max_tokens', [said], 'max_tokens'],
      ['model.pause_turn', [said], 'pause_turn'],
      ['model.unknown_stop', [said], 'a_new_reason'],
    ]
    for (const [fault, blocks, reason] of stops)
      if (faults.strikes(fault, fault === 'model.refusal' ? 0.1 : 0.5)) return answer(blocks, reason)
    if (request.tools.some(({ name }) => name === 'submit_plan'))
      return answer([said, this.#plan()], 'tool_use')
    if (random.chance(0.22)) return answer([said], 'end_turn')
    const calls = Array.from({ length: random.chance(0.6) ? 1 : random.between(2, 5) }, () => this.#call())
    return answer([said, ...calls], 'tool_use')
  }

  #use(name: string, input: unknown): AssistantBlock {
    return { type: 'tool_use', id: `toolu_${this.#around.random.uuid()}`, name, input }
  }

  #plan(): AssistantBlock {
    const { faults, random } = this.#around
    if (faults.strikes('model.invalid_plan')) return this.#use('submit_plan', { goal: '', phases: [] })
    const phases = Array.from({ length: random.between(1, 3) }, (_, n) => ({
      name: `Phase ${n + 1}`,
      description: 'd',
      required_capabilities: [],
      estimated_credits: 5,
      dependencies: n === 0 ? [] : [n],
      expected_outputs: [],
    }))
    return this.#use('submit_plan', { goal: 'Goal', phases, total_estimated_duration_minutes: 1, risks: [] })
  }

  #call(): AssistantBlock {
    const { faults, random } = this.#around
    if (faults.strikes('model.unknown_tool')) return this.#use('teleport', {})
    if (faults.strikes('model.malformed_input'))
      return random.chance(0.5)
        ? this.#use('shell', { command: 7 })
        : this.#use('file_write', { filepath: '../../x' })
    const path = random.pick(['outputs/a.txt', 'outputs/b.txt', 'notes/n.txt'])
    switch (random.between(0, 9)) {
      case 0:
        return this.#use('file_write', { filepath: path, content: `content ${random.between(0, 3)}` })
      case 1:
        return this.#use('file_read', { filepath: path })
      case 2:
        return this.#use('file_list', { dirpath: '.' })
      case 3:
        return this.#use('message', { message: 'On my way.' })
      case 4:
        return this.#use('advance_phase', { phase_number: random.between(1, 3), summary: 's' })
      case 5:
        return random.chance(0.5)
          ? this.#use('ask_user', { question: 'Which?' })
          : this.#use('message', { message: 'm' })
      case 6:
        return this.#use('code', { language: 'bash', code: 'true' })
      default:
        return this.#use('shell', { command: 'true' })
    }
  }
}
