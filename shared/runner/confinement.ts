/** How a tool is kept apart from the machine; see bubblewrap.ts, namespaces.ts, unconfined.ts. */
export type Confinement = 'bubblewrap' | 'namespaces' | 'none'
