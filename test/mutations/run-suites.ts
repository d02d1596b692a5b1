import type { Case, Suite } from './collect.ts'

/** A case that takes longer has noticed something: the slowest takes a second on a machine with nothing else to do. */
const CASE_LIMIT_MS = 12_000
/** A case that fails after so long may have met a timeout of its own on a busy machine: its suite is asked again. */
const DOUBTFUL_MS = 4_000

class TooLong extends Error {}

async function within(ms: number, work: () => unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new TooLong(`not done in ${ms} ms`)), ms)
  })
  try {
    await Promise.race([Promise.resolve().then(work), limit])
  } finally {
    clearTimeout(timer)
  }
}

/** Why the last case failed: for the report when nothing was changed. */
export let reason = ''

/** Whether it failed late. */
let isDoubtful = false

/** As runSuite; what is in doubt is asked once more. */
async function askSuite(suite: Suite, cases: readonly Case[]): Promise<string | undefined> {
  const noticed = await runSuite(suite, cases)
  return noticed !== undefined && isDoubtful ? runSuite(suite, cases) : noticed
}

/** Runs cases until one fails; answers its title and why, or undefined when all passed. */
export async function runSuite(
  suite: Suite,
  cases: readonly Case[],
  afterCase: (done: Case) => Promise<void> = async () => {},
): Promise<string | undefined> {
  if (cases.length === 0) return undefined
  let title = 'before all'
  let began = performance.now()
  try {
    for (const hook of suite.before) await within(CASE_LIMIT_MS, hook)
    for (const done of cases) {
      const { title: name, run } = done
      title = name
      began = performance.now()
      for (const hook of suite.beforeEach) await within(CASE_LIMIT_MS, hook)
      // measured on the same machine, as busy as it is
      await within(Math.max(CASE_LIMIT_MS, 20 * (done.milliseconds ?? 0)), run)
      title = `${name}, and then`
      for (const hook of suite.afterEach.toReversed()) await within(CASE_LIMIT_MS, hook)
      await afterCase(done)
    }
    return undefined
  } catch (error) {
    reason =
      error instanceof Error
        ? `${error.message}\n${JSON.stringify({ ...error }).slice(0, 2000)}`
        : String(error)
    isDoubtful = performance.now() - began > DOUBTFUL_MS
    return `${suite.file}: ${title}`
  } finally {
    for (const hook of suite.after.toReversed()) await within(CASE_LIMIT_MS, hook).catch(() => undefined)
  }
}

/** Who noticed lately a mutant of the same function or kind, by its name: mostly they notice the next one as well. */
const lately = new Map<string, { suite: Suite; title: string }[]>()
const MAX_LATELY = 12

/** Who noticed, and with which cases of its suite in which order. */
export interface Notice {
  by: string
  suite: Suite
  cases: readonly Case[]
}

/** Runs the cases that reach the target, those cases first that noticed earlier mutants of this target. */
export async function runSuites(
  suites: readonly Suite[],
  target: string,
  reaches: (one: Case) => boolean = () => true,
): Promise<Notice | undefined> {
  const first = lately.get(target) ?? []
  for (const suite of suites) {
    const titles = new Set(first.filter((known) => known.suite === suite).map(({ title }) => title))
    if (titles.size === 0) continue
    const cases = suite.cases.filter(({ title }) => titles.has(title))
    const by = await askSuite(suite, cases)
    if (by !== undefined) return { by, suite, cases }
  }
  for (const suite of suites) {
    const cases = suite.cases.filter(reaches)
    const by = await askSuite(suite, cases)
    if (by === undefined) continue
    const found = suite.cases.find(({ title }) => isBy(by, suite, title))
    if (found !== undefined)
      lately.set(target, [{ suite, title: found.title }, ...first].slice(0, MAX_LATELY))
    return { by, suite, cases }
  }
  return undefined
}

function isBy(by: string, suite: Suite, title: string): boolean {
  return by === `${suite.file}: ${title}` || by === `${suite.file}: ${title}, and then`
}

/** Orders of cases, up to the one that noticed, in which nothing was wrong with the original. */
const sound = new Set<string>()

/**
 * Whether it was the mutant: the original is shown to the same cases in the same order, once for each. A case that then fails as well
 * leans on cases that were left out; it is not asked again.
 * To be called with the original in the mutant's place.
 */
export async function isSound({ by, suite, cases }: Notice): Promise<boolean> {
  const until = cases.findIndex(({ title }) => isBy(by, suite, title))
  const asked = cases.slice(0, until + 1)
  const key = JSON.stringify([suite.file, asked.map(({ title }) => title)])
  if (until === -1 || sound.has(key)) return true
  if ((await askSuite(suite, asked)) === undefined) {
    sound.add(key)
    return true
  }
  suite.cases = suite.cases.filter((one) => one !== cases[until])
  for (const [target, known] of lately)
    lately.set(
      target,
      known.filter((one) => one.suite !== suite || one.title !== cases[until]?.title),
    )
  return false
}
