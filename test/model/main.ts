import { FULL } from './bounds.ts'
import { explore } from './explore.ts'
import { GUARDS } from './guards.ts'
import { PROGRAMS, type ProgramName } from './programs.ts'
import { REMOVALS, remove } from './removals.ts'

// npm run test:model [-- --traces]: every state of the protocol within the bounds below, then every guard removed in turn.

const RUNS: [ProgramName, typeof FULL][] = [
  ['two', FULL],
  ['question', FULL],
  ['three', FULL],
  ['job', FULL],
  // four steps, of which two are worked on side by side: one message and one attempt each, left alone by the user
  ['group', { messages: 1, attempts: 1, verbs: false }],
]

if (process.argv.includes('--help') || process.argv.includes('-h')) {
  console.log(`npm run test:model -- [--traces]
Visits every state of the step protocol within its bounds, then removes every guard in turn: each must give a counter-example.

  --traces   prints the counter-examples step by step`)
  process.exit(0)
}

let failed = 0
const print = (line: string) => process.stdout.write(`${line}\n`)
const number = (value: number) => value.toLocaleString('en')

print(
  'Model of the step protocol: 2 workers, lease lapses, crashes and losses at any moment, no limit on their number\n',
)
print(
  `${'program'.padEnd(46)}${'bounds'.padEnd(34)}${'states'.padStart(11)}${'transitions'.padStart(13)} depth  seconds    MB`,
)
for (const [name, bounds] of RUNS) {
  const { steps, name: title } = PROGRAMS[name]
  const found = explore(PROGRAMS[name], { bounds })
  const limits = `${bounds.messages} messages, ${bounds.attempts} attempts${bounds.verbs ? ', verbs' : ''}`
  print(
    `${title.padEnd(46)}${limits.padEnd(34)}${number(found.states).padStart(11)}${number(found.transitions).padStart(13)}` +
      `${String(found.depth).padStart(6)}${found.seconds.toFixed(1).padStart(9)}${String(found.megabytes).padStart(6)}`,
  )
  if (found.broken === null && found.complete) continue
  failed++
  print(
    found.broken === null
      ? `  NOT COMPLETE: ${steps.length} steps need more memory`
      : `  BROKEN: ${found.broken.property}`,
  )
  for (const line of found.broken?.trace ?? []) print(`    ${line}`)
}

print('\nEach guard removed in turn: the promise that breaks, and the length of the shortest way to it\n')
for (const removal of REMOVALS) {
  const found = remove(removal)
  const guards = removal.guards.join(' + ')
  if (found.broken === null) {
    failed++
    print(`  NOT NOTICED   ${guards} (${found.states} states)`)
    continue
  }
  const { property, trace } = found.broken
  print(`  ${guards.padEnd(20)} ${String(trace.length).padStart(2)}  ${property}`)
  if (!process.argv.includes('--traces')) continue
  for (const guard of removal.guards) print(`      without ${GUARDS[guard]}`)
  for (const line of trace) print(`        ${line}`)
}
print(failed === 0 ? '\nno promise is broken, every guard is needed' : `\n${failed} findings`)
process.exitCode = failed === 0 ? 0 : 1
