import type { Handler } from 'hono'
import type { App, AppEnv } from './env.ts'
import { MethodNotAllowed } from './errors.ts'

/**
 * One handler for one verb at several paths; every other verb there is answered with 405. A path may have several verbs if they are
 * given in one call.
 *
 * @param options.head false where a GET has no end, so that nothing answers HEAD
 */
export function route(
  app: App,
  paths: readonly string[],
  handlers: {
    GET?: readonly Handler<AppEnv>[]
    POST?: readonly Handler<AppEnv>[]
    PUT?: readonly Handler<AppEnv>[]
  },
  { head = true }: { head?: boolean } = {},
): void {
  const { GET, POST, PUT } = handlers
  const allow = [
    ...(GET ? ['GET', ...(head ? ['HEAD'] : [])] : []),
    ...(POST ? ['POST'] : []),
    ...(PUT ? ['PUT'] : []),
    'OPTIONS',
  ]
  for (const path of paths) {
    for (const handler of GET ?? []) app.get(path, handler)
    for (const handler of POST ?? []) app.post(path, handler)
    for (const handler of PUT ?? []) app.put(path, handler)
    app.all(path, () => {
      throw new MethodNotAllowed(allow)
    })
  }
}

/** The paths of one service: its short path `/` only where it stands alone. */
export function servicePaths(mounted: boolean, paths: readonly string[]): string[] {
  return mounted ? [...paths] : ['/', ...paths]
}
