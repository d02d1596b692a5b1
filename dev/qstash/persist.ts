import { readFileSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { bodyBytes, emptyState, type State } from './state.ts'

interface Snapshot {
  version: 1
  sequence: number
  messages: [string, unknown][]
  deadLetters: [string, unknown][]
  queues: [string, unknown][]
  topics: [string, unknown][]
  schedules: [string, unknown][]
  flows: [string, unknown][]
  seen: [string, unknown][]
}

export interface Persistence {
  /** Something changed; it is written soon. */
  changed(): void
  /** Resolves when everything up to now is on disk; rejects when it cannot be written. */
  saved(): Promise<void>
}

const NO_FILE: Persistence = { changed() {}, saved: () => Promise.resolve() }

/**
 * One JSON snapshot, replaced atomically (write, fsync, rename), never more than one write at a time: what arrives meanwhile shares
 * the next one. A whole snapshot is right for the few small messages of a local stack and has no log to compact or to repair.
 */
export function persistState(
  file: string | undefined,
  state: State,
  onError: (error: unknown) => void,
): Persistence {
  if (file === undefined) return NO_FILE
  let running: Promise<void> | null = null
  let next: Promise<void> | null = null

  const start = (): Promise<void> => {
    const write = writeSnapshot(file, state).finally(() => {
      running = null
    })
    running = write
    write.catch(onError)
    return write
  }
  const schedule = (): Promise<void> => {
    next ??= (async () => {
      await (running ?? new Promise<void>((resolve) => setImmediate(resolve))).catch(() => undefined)
      next = null
      await start()
    })()
    next.catch(() => undefined)
    return next
  }
  return {
    changed() {
      void schedule().catch(() => undefined)
    },
    saved: schedule,
  }
}

async function writeSnapshot(file: string, state: State): Promise<void> {
  const snapshot: Snapshot = {
    version: 1,
    sequence: state.sequence,
    messages: [...state.messages],
    deadLetters: [...state.deadLetters],
    queues: [...state.queues],
    topics: [...state.topics],
    schedules: [...state.schedules],
    flows: [...state.flows],
    seen: [...state.seen],
  }
  const text = JSON.stringify(snapshot)
  await mkdir(dirname(file), { recursive: true })
  const temporary = `${file}.tmp`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
}

/**
 * The state of the last run; empty when there is no file. A message that was being delivered is due again: it may arrive twice, as
 * with the real service. Throws with the file's name when it is not a snapshot.
 */
export function loadState(file: string | undefined): State {
  const state = emptyState()
  if (file === undefined) return state
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return state
    throw error
  }
  let snapshot: Snapshot
  try {
    snapshot = JSON.parse(text) as Snapshot
    if (snapshot.version !== 1) throw new Error('unknown version')
    state.sequence = snapshot.sequence
    for (const name of [
      'messages',
      'deadLetters',
      'queues',
      'topics',
      'schedules',
      'flows',
      'seen',
    ] as const) {
      const target = state[name] as Map<string, unknown>
      for (const [key, value] of snapshot[name]) target.set(key, value)
    }
  } catch (cause) {
    throw new Error(`${file} is not a QStash snapshot: delete it to start empty`, { cause })
  }
  for (const message of state.messages.values()) {
    if (message.state === 'CANCEL_REQUESTED') state.messages.delete(message.key)
    else if (message.state === 'ACTIVE') message.state = 'RETRY'
    state.pendingBytes += state.messages.has(message.key) ? bodyBytes(message.body) : 0
  }
  return state
}
