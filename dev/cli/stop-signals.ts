/** Terminal, npm and bootstrap each pass a Ctrl-C on: what comes within this time is the same one. */
const SAME_MS = 1_000

/** Calls `stop` at the first SIGINT, SIGTERM or SIGHUP, or when the process that started us is gone; `force` at a second one. */
export function onStopSignals({ stop, force }: { stop: (reason: string) => void; force: () => void }): void {
  let first: number | undefined
  const onSignal = (reason: string) => {
    if (first === undefined) {
      first = Date.now()
      stop(reason)
    } else if (Date.now() - first > SAME_MS) force()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(signal))
  if (process.connected) {
    process.once('disconnect', () => onSignal('the starting process ended'))
    process.channel?.unref()
  }
}
