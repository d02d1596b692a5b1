import { expect as assertion } from 'vitest'

/** As much of vitest as the suites of the kill list use, collected instead of run: they are run once for every mutant. */
export interface Case {
  title: string
  run: () => unknown
  /** Functions of the database that it calls; unknown before it was measured. */
  calls?: Set<string>
  milliseconds?: number
}
export interface Suite {
  file: string
  before: (() => unknown)[]
  beforeEach: (() => unknown)[]
  afterEach: (() => unknown)[]
  after: (() => unknown)[]
  cases: Case[]
}

let suite: Suite = emptySuite('')
let postgres: unknown

function emptySuite(file: string): Suite {
  return { file, before: [], beforeEach: [], afterEach: [], after: [], cases: [] }
}

/** The suite of a test file, as its import declares it. */
export async function collect(file: string, load: () => Promise<unknown>): Promise<Suite> {
  suite = emptySuite(file)
  await load()
  return suite
}

export function provide(value: unknown): void {
  postgres = value
}

const add = (title: string, run: () => unknown) => {
  suite.cases.push({ title, run })
}
export const it = Object.assign((title: string, run: () => unknown) => add(title, run), {
  each: (rows: readonly unknown[]) => (title: string, run: (...values: unknown[]) => unknown) => {
    rows.forEach((row, n) => {
      const [first] = Array.isArray(row) ? row : [row]
      add(`${title.replace('%s', String(first))} [${n}]`, () => run(...(Array.isArray(row) ? row : [row])))
    })
  },
})
export const test = it
/** Hooks of an inner block hold for the whole file here: the kill list has files in which that is the same. */
export const describe = (_name: string, declare: () => void) => declare()
export const beforeAll = (run: () => unknown) => suite.before.push(run)
export const afterAll = (run: () => unknown) => suite.after.push(run)
export const beforeEach = (run: () => unknown) => suite.beforeEach.push(run)
export const afterEach = (run: () => unknown) => suite.afterEach.push(run)
export const inject = (_name: string) => postgres

type Poll = Record<string, (...values: unknown[]) => Promise<void>>
const POLL_MS = 25

/** `expect.poll` belongs to a running test of vitest; this one asks again until the assertion holds or its time is over. */
function poll(read: () => unknown, { timeout = 1000 } = {}): Poll {
  return new Proxy({} as Poll, {
    get:
      (_target, matcher: string) =>
      async (...values: unknown[]) => {
        for (const end = Date.now() + timeout; ; ) {
          try {
            const assertions = assertion(await read()) as unknown as Record<string, (...v: unknown[]) => void>
            assertions[matcher]?.(...values)
            return
          } catch (error) {
            if (Date.now() >= end) throw error
            await new Promise((resolve) => setTimeout(resolve, POLL_MS))
          }
        }
      },
  })
}
export const expect = Object.assign(
  (...values: Parameters<typeof assertion>) => assertion(...values),
  assertion,
  { poll },
)
