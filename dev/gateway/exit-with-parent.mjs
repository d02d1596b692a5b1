// Loaded with --import into every process the stack starts: ends it when its stdin, a pipe from the stack, closes.
// That is the only sign a process gets when the stack itself is SIGKILLed; without it the functions would stay for ever.
/** The function may finish what it has in hand; then it has to go. */
const GRACE_MS = 5_000

function leave() {
  setTimeout(() => process.exit(1), GRACE_MS).unref()
  process.kill(process.pid, 'SIGTERM')
}

// stdout and stderr go to the same dead process: their EPIPE must not turn a clean stop into a crash.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})
process.stdin.on('end', leave).on('error', leave).resume()
process.stdin.unref()
