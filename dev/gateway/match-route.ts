export interface Routed {
  name: string
  /** Paths: exact, or with `*` for one segment, or ending in `/**` for a path and everything below it. */
  routes: readonly string[]
}

/** Finds the function of a path. Exact routes win over patterns; among patterns the first one given wins. One slash at the end is as none: so the functions take it. */
export function matchRoute(functions: readonly Routed[]): (path: string) => string | undefined {
  const exact = new Map<string, string>()
  const patterns: { test: RegExp; name: string }[] = []
  for (const { name, routes } of functions) {
    for (const route of routes) {
      if (route.includes('*')) patterns.push({ test: toRegExp(route), name })
      else if (exact.has(route)) throw new Error(`${route} is routed to ${exact.get(route)} and to ${name}`)
      else exact.set(route, name)
    }
  }
  const find = (path: string) => exact.get(path) ?? patterns.find(({ test }) => test.test(path))?.name
  return (path) => find(path) ?? (path.length > 1 && path.endsWith('/') ? find(path.slice(0, -1)) : undefined)
}

function toRegExp(route: string): RegExp {
  const below = route.endsWith('/**')
  const source = (below ? route.slice(0, -3) : route)
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join('[^/]+')
  return new RegExp(`^${source}${below ? '(?:/.*)?' : ''}$`)
}
