import { readTarget } from '../shared/config/read-target.ts'
import { runMain } from '../shared/http/run-main.ts'

/** The all-in-one entry: FUNCTION_TARGET picks one function; without it all four answer, without their short paths. */
await runMain(async () => {
  const target = readTarget()
  // Loaded by need: one function must not start slower because the other three are in the same image.
  if (target === null) return (await import('./serve-all.ts')).serveAll()
  return (await import('./serve-one.ts')).serveOne(target)
})
