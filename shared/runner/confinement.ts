/**
 * How a tool is kept apart from the machine; see bubblewrap.ts, namespaces.ts, unconfined.ts. `pod`: by the two containers of a pod
 * (pod.ts), the runner in one, the tool in the other.
 */
export type Confinement = 'bubblewrap' | 'namespaces' | 'none' | 'pod'
