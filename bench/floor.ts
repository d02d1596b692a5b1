import { randomUUID } from 'node:crypto'
import pg from 'pg'

export interface Floor {
  /** A new run's id. */
  create(): Promise<string>
  /** One transaction: the step's writes. Answers the number of the next step. */
  step(runId: string, stepNumber: number): Promise<number>
  close(): Promise<void>
}

/** F1: nothing between the loop and Postgres. `connections` as many as the candidate beside it has. */
export function openFloor(url: string, { textBytes = 200, connections = 4 } = {}): Floor {
  const pool = new pg.Pool({ connectionString: url, max: connections })
  pool.on('error', () => {})
  const text = 'x'.repeat(textBytes)
  return {
    async create() {
      const id = randomUUID()
      await pool.query('insert into floor.runs (id) values ($1)', [id])
      return id
    },
    async step(runId, stepNumber) {
      const p = {
        run_id: runId,
        step_number: stepNumber,
        tokens: 1100,
        tool_name: 'message',
        input: { message: text },
        output: { delivered: true },
        role: 'assistant',
        content: text,
        blocks: [
          { type: 'tool_use', id: `toolu_${randomUUID()}`, name: 'message', input: { message: text } },
        ],
      }
      const { rows } = await pool.query<{ answer: { done: boolean; next_step: number } }>(
        'select floor.step($1::jsonb) as answer',
        [JSON.stringify(p)],
      )
      const answer = rows[0]?.answer
      if (answer?.done !== true) throw new Error(`the floor's step ${stepNumber} did not commit`)
      return answer.next_step
    },
    close: () => pool.end(),
  }
}
