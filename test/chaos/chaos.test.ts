import { expect, it } from 'vitest'
import { failures } from './report.ts'
import { runChaos } from './run-chaos.ts'

/** Short, and with `npm run test:full` only: the machine is busy with it. `npm run test:chaos` is the proof. */
it.runIf(process.env['TEST_FULL'] === '1')(
  'nothing is lost, nothing is twice and nothing is stuck while everything is broken',
  async () => {
    const chaos = await runChaos({ seconds: 25, seed: 1, fsync: true, log: () => {} })
    // so short a time may leave one kind of fault out
    expect(failures(chaos).filter((problem) => !problem.startsWith('the fault '))).toEqual([])
  },
  600_000,
)
