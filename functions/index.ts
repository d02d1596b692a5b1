import { readTarget } from '../shared/config/readTarget.ts'
import { runMain } from '../shared/http/runMain.ts'

/** The all-in-one entry: FUNCTION_TARGET picks one function; without it all four answer, without their short paths. */
await runMain(async () => {
  const target = readTarget()
  // Loaded by need: one function must not start slower because the other three are in the same image.
  if (target === null) return (await import('./serveAll.ts')).serveAll()
  return (await import('./serveOne.ts')).serveOne(target)
})
