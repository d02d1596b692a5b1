import type { FileVersion, Message, RunTables } from '../../shared/adapters/memory/store/tables.ts'

/** What a fork has too much or too little of, beside the run that it came from; undefined when it is right. */
export function checkFork(
  source: RunTables,
  fork: RunTables,
  { from, message }: { from: number; message: string | null },
): string | undefined {
  const differs = (what: string, was: unknown, is: unknown) =>
    JSON.stringify(was) === JSON.stringify(is)
      ? undefined
      : `${what}: ${JSON.stringify(is)} but ${JSON.stringify(was)} before step ${from}`
  const step = ({ steps }: RunTables) =>
    steps
      .slice(0, from)
      .map((each) => [
        each.step_number,
        each.kind,
        each.tool_name,
        each.tool_input,
        each.status,
        each.tool_output,
      ])
  const open = fork.steps.slice(from)
  return (
    differs('steps', step(source), step(fork)) ??
    differs('messages', messagesOf(source, from, message), fork.messages.map(said)) ??
    differs('files', standing(source.files, from), standing(fork.files, from)) ??
    differs('open steps', open.length, fork.steps.filter(({ state }) => state === 'open').length) ??
    differs(
      'ledger',
      open.map(({ step_number }) => [step_number, source.steps[step_number]?.cost_units]),
      fork.ledger.map(({ step_number, available }) => [step_number, -available]),
    )
  )
}

const said = ({ step_number, role, content, tool_call_id }: Message) => [
  step_number,
  role,
  content,
  tool_call_id,
]

function messagesOf({ messages }: RunTables, from: number, message: string | null): unknown[] {
  const kept = messages.filter(({ step_number }) => step_number < from)
  const there = messages.filter(({ step_number, step_id }) => step_number === from && step_id === null)
  if (message === null) return [...kept, ...there].map(said)
  const edited = [from, 'user', message, null]
  return [...kept.map(said), edited]
}

/** Path and hash of what stood before a step, found by going through the commits in their order. */
function standing(files: readonly FileVersion[], from: number): unknown[] {
  const paths = new Set(files.filter(({ from_step }) => from_step < from).map(({ path }) => path))
  return [...paths]
    .toSorted((a, b) => (a < b ? -1 : 1))
    .flatMap((path) => {
      const alive = files.filter(
        (file) =>
          file.path === path && file.from_step < from && (file.to_step === null || file.to_step >= from),
      )
      const last = alive.sort((a, b) => a.from_step - b.from_step).at(-1)
      return last === undefined ? [] : [[path, last.sha256]]
    })
}
