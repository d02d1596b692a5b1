import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { call, cancelledRun, execute, idleRun, type Loose, note, status } from '../call.ts'
import type { Case, World } from '../installation.ts'
import { eventSourceReader } from '../readers/event-source-reader.ts'
import { invoke, invokeScreen } from '../readers/invoke-screen.ts'
import { CURSORS, logPoller, plainStreamReader } from '../readers/log-readers.ts'
import { oldestStreamReader } from '../readers/oldest-stream-reader.ts'
import { typedStreamReader } from '../readers/typed-stream-reader.ts'
import { demoRun, SMALL_PROMPT } from '../runs.ts'

const FINAL = ['completed', 'failed', 'cancelled', 'timeout']
const PAIRS = ['', '-phase2']

async function statusBody(world: World, run_id: string): Promise<Loose> {
  return (await status(world, { run_id })).body
}

/** A turn that only calls a tool has no words, and no bubble in a chat. */
function isSpoken({ role, content }: Loose): boolean {
  return role === 'assistant' && content !== ''
}

const generationA: Case = {
  name: 'generation A creates, starts and polls with functions.invoke, under both names, until its page says completed',
  needs: ['runs'],
  async run(world) {
    const supabase = world.supabase(world.alice)
    const { data, status: code } = await invoke(supabase, 'agent-execute', {
      action: 'create',
      prompt: SMALL_PROMPT,
      project_id: '',
      connector_ids: [],
    })
    note(world, { status: code, body: data, headers: new Headers(), text: '' })
    assert.equal(data.task.id, data.run_id)
    assert.equal(data.task.prompt, SMALL_PROMPT)
    const started = await invoke(supabase, 'agent-execute-phase2', { action: 'start', run_id: data.run_id })
    // It races with the queue: the run may be anywhere, but a start is never an error before the end.
    if (started.shown === null) assert.equal(started.data.run_id, data.run_id)
    else assert.match(started.shown, /^Cannot start run in status: completed$/)
    let page: Loose
    for (let poll = 0; !FINAL.includes(page?.state); poll += 1) {
      const polled = await invoke(supabase, `agent-status${PAIRS[poll % 2]}`, { run_id: data.run_id })
      assert.equal(polled.shown, null)
      page = invokeScreen(polled.data)
      assert.ok(Number.isInteger(page.bar) && page.bar >= 0 && page.bar <= 100)
      await wait(200)
    }
    assert.equal(page.title, SMALL_PROMPT)
    assert.deepEqual([page.state, page.bar], ['completed', 100])
    assert.ok(page.steps.length > 0 && page.log.length > 0)
    assert.match(page.chat[0], /^user: What is 6/)
    assert.match(page.chat.at(-1), /^assistant: ./)
  },
}

/** What each reader of a live run must have shown when it is over. */
type LiveReader = (world: World, run_id: string) => Promise<(rest: Loose) => void>

const liveLogReaders: Record<string, LiveReader> = {
  ...Object.fromEntries(
    Object.entries(CURSORS).map(([name, cursor]): [string, LiveReader] => [
      `log poller by ${name}`,
      async (world, run_id) => {
        const lines = await logPoller(world, run_id, cursor)
        return ({ logs }) => assert.deepEqual(lines, logs.map(lineOf))
      },
    ]),
  ),
  'plain stream reader': async (world, run_id) => {
    const screen = await plainStreamReader(world, `${world.paths.logs[0]}?run_id=${run_id}&mode=stream`)
    return ({ logs }) => {
      assert.deepEqual([screen.connectedTo, screen.status, screen.error], [run_id, 'completed', null])
      assert.deepEqual(screen.lines, logs.map(lineOf))
    }
  },
}

const liveStreamReaders: Record<string, LiveReader> = {
  'oldest stream reader': async (world, run_id) => {
    const screen = await oldestStreamReader(world, `/agent/run/${run_id}/stream`)
    return ({ steps, messages }) => {
      assert.deepEqual([screen.polls, screen.status, screen.progress], [false, 'completed', 100])
      assert.deepEqual(screen.end, { good: true, text: messages.at(-1).content })
      assert.deepEqual(
        [...screen.steps.values()],
        steps.map((step: Loose) => `${step.tool_name} ${step.status}`),
      )
    }
  },
  'typed stream reader': async (world, run_id) => {
    const screen = await typedStreamReader(world, `/agent/stream/${run_id}`)
    return ({ steps }) => {
      assert.equal(screen.toast, 'success')
      assert.equal(screen.tools.size, steps.filter((step: Loose) => step.tool_type !== 'plan').length)
      for (const card of screen.tools.values()) assert.ok(card.done)
    }
  },
  'EventSource with a ticket': async (world, run_id) => {
    const screen = await eventSourceReader(world, run_id, `/agent/run/${run_id}/stream`)
    return () => {
      assert.deepEqual([screen.end, screen.opened], ['complete', 1])
      for (const name of ['status', 'step', 'tool_call', 'tool_result', 'message'])
        assert.ok(screen.lines.includes(name), `${name} in ${screen.lines.join(' ')}`)
    }
  },
}

function lineOf(log: Loose): string {
  assert.equal(log.content, log.message)
  return `${log.seq} ${log.content}`
}

async function followedBy(world: World, readers: Record<string, LiveReader>): Promise<void> {
  // As the newest callers: create is all they call.
  const answer = await execute(world, {
    prompt: SMALL_PROMPT,
    taskType: 'research',
    mode: 'agentic',
    privacyTier: 'standard',
    connectors: [],
    templateId: null,
    memoryContext: 'Likes short answers',
    thinkingLevel: 'low',
  })
  assert.equal(answer.status, 201, answer.text)
  const { run_id } = answer.body
  const shown = await Promise.all(Object.values(readers).map((reader) => reader(world, run_id)))
  const rest = (await status(world, { run_id, steps_limit: 500, logs_limit: 500 })).body
  assert.deepEqual(
    [rest.run.status, rest.run.mode, rest.run.metadata.mode_requested],
    ['completed', 'custom', 'agentic'],
  )
  for (const [n, name] of Object.keys(readers).entries()) {
    try {
      shown[n]?.(rest)
    } catch (error) {
      throw new Error(name, { cause: error })
    }
  }
}

export const readerCases: Case[] = [
  generationA,
  {
    name: 'a run of the newest callers, who create only, is followed live by both log pollers and the plain stream',
    needs: ['runs'],
    run: (world) => followedBy(world, liveLogReaders),
  },
  {
    name: 'the oldest and the typed stream reader and an EventSource with a ticket follow a run live to completed',
    needs: ['api', 'runs'],
    run: (world) => followedBy(world, liveStreamReaders),
  },
  {
    name: 'generation A shows `error` of the Response in FunctionsHttpError',
    async run(world) {
      const supabase = world.supabase(world.alice)
      for (const suffix of PAIRS) {
        const refusals: [string, Record<string, unknown>, number, string][] = [
          ['agent-execute', { action: 'create', prompt: ' ' }, 400, 'Prompt is required'],
          ['agent-execute', { action: 'dance' }, 400, 'Unknown action: dance'],
          ['agent-execute', { action: 'start' }, 400, 'run_id is required'],
          ['agent-status', { run_id: '00000000-0000-4000-8000-000000000000' }, 404, 'Run not found'],
        ]
        for (const [name, body, code, text] of refusals) {
          const { shown, status: seen } = await invoke(supabase, name + suffix, body)
          assert.deepEqual([seen, shown], [code, text])
        }
      }
      const nobody = world.supabase({ id: '', token: world.anonKey })
      const { shown, status: seen } = await invoke(nobody, 'agent-status', { run_id: 'x' })
      assert.deepEqual([seen, shown], [401, 'Unauthorized'])
    },
  },
  {
    name: 'the reader that throws without `success` sees a create, a verb and a refusal for what they are',
    async run(world) {
      const reader = (answer: { body: Loose }) => {
        if (!answer.body.success) throw new Error(answer.body.error)
        return answer.body.run_id
      }
      const run_id = reader(await execute(world, { prompt: 'x', auto_start: false }))
      world.made.set(run_id, world.alice)
      assert.equal(reader(await execute(world, { action: 'stop', run_id })), run_id)
      const again = await execute(world, { action: 'stop', run_id })
      assert.throws(() => reader(again), /^Error: Cannot cancel run in status: cancelled$/)
    },
  },
  {
    name: 'the FastAPI generation shows `detail`, and a bar from task.progress_percentage',
    async run(world) {
      const reader = async (path: string, body: unknown) => {
        const answer = await call(world, path, { body })
        if (answer.status >= 400) throw new Error(answer.body.detail)
        return answer.body
      }
      const run_id = await idleRun(world)
      const [path = ''] = world.paths.status
      const { task } = await reader(path, { task_id: run_id })
      assert.deepEqual([task.id, task.status, task.progress_percentage], [run_id, 'created', 0])
      await assert.rejects(reader(path, { task_id: crypto.randomUUID() }), /^Error: Run not found$/)
      await assert.rejects(reader(path, {}), /^Error: run_id is required$/)
    },
  },
  {
    name: 'the bar of task.progress_percentage stands at 100 when the run completed',
    needs: ['runs'],
    async run(world) {
      const { task, run, progress } = await statusBody(world, await demoRun(world))
      const { progress_percentage, ...rest } = task
      assert.deepEqual(rest, run)
      assert.deepEqual([progress_percentage, progress.percentage, progress.status], [100, 100, 'completed'])
      assert.equal(progress.total_phases, run.plan.phases.length)
      assert.deepEqual(run.execution_plan, run.plan)
    },
  },
  {
    name: 'the file list reads file_name, download_url, output_type, file_size_bytes, mime_type, and downloads',
    needs: ['runs'],
    async run(world) {
      const { artifacts, outputs } = await statusBody(world, await demoRun(world))
      assert.ok(artifacts.length > 0)
      assert.deepEqual(outputs, artifacts)
      for (const file of artifacts) {
        assert.deepEqual(
          [file.file_name, file.file_size_bytes, file.mime_type],
          [file.filename, file.file_size, file.file_type],
        )
        assert.match(file.output_type, /^\w+$/)
        const download = await fetch(file.download_url)
        assert.equal(download.status, 200)
        assert.equal((await download.arrayBuffer()).byteLength, file.file_size_bytes)
      }
    },
  },
  {
    name: 'the oldest stream reader shows thoughts, terminal and files of a finished run',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const screen = await oldestStreamReader(world, `/agent/stream/${run_id}`)
      const { artifacts, messages } = await statusBody(world, run_id)
      assert.deepEqual(
        screen.files.map(({ name }) => name),
        artifacts.map((file: Loose) => file.file_name),
      )
      for (const { url } of screen.files) assert.equal((await fetch(url)).status, 200)
      assert.ok(screen.terminal.length > 0)
      const spoken = messages.filter(isSpoken)
      for (const { content } of spoken.slice(0, -1)) assert.ok(screen.thoughts.includes(content), content)
      assert.equal(screen.end?.text, spoken.at(-1).content)
    },
  },
  {
    name: 'the typed stream reader shows each tool with its result, the chat, phases and outputs',
    needs: ['api', 'runs'],
    async run(world) {
      const run_id = await demoRun(world)
      const screen = await typedStreamReader(world, `/agent/run/${run_id}/stream`)
      const { steps, messages, outputs, run } = (await status(world, { run_id, steps_limit: 500 })).body
      assert.equal(screen.toast, 'success')
      const tools = steps.filter((step: Loose) => step.tool_type !== 'plan')
      assert.deepEqual(
        [...screen.tools.keys()],
        tools.map((step: Loose) => step.id),
      )
      for (const step of tools) {
        const card = screen.tools.get(step.id)
        assert.deepEqual(
          [card?.done, card?.good, card?.input],
          [true, step.status === 'completed', step.tool_input],
        )
        if (step.status === 'failed') assert.equal(card?.error, step.error_message)
      }
      assert.deepEqual(
        screen.chat.filter(({ role }) => role === 'assistant').map(({ text }) => text),
        messages.filter(isSpoken).map((message: Loose) => message.content),
      )
      assert.deepEqual(
        screen.outputs.map(({ name, mime, type }) => [name, mime, type]),
        outputs.map((file: Loose) => [file.file_name, file.mime_type, file.output_type]),
      )
      if (run.plan.phases.length > 1) assert.ok(screen.phases.length > 0 && screen.percentage > 0)
    },
  },
  {
    name: 'the readers that take every complete for success see a cancelled run fail, on both named streams',
    needs: ['api'],
    async run(world) {
      const run_id = await cancelledRun(world)
      for (const path of [`/agent/run/${run_id}/stream`, `/agent/stream/${run_id}`]) {
        assert.equal((await typedStreamReader(world, path)).toast, 'failure')
        const oldest = await oldestStreamReader(world, path)
        assert.deepEqual([oldest.end?.good, oldest.status, oldest.polls], [false, 'cancelled', false])
        assert.match(oldest.end?.text ?? '', /cancel/i)
      }
    },
  },
  {
    name: 'an EventSource hears why a cancelled run ended, as an error event with data',
    needs: ['api'],
    async run(world) {
      const run_id = await cancelledRun(world)
      const { end } = await eventSourceReader(world, run_id, `/agent/stream/${run_id}`)
      assert.match(end, /cancel/i)
    },
  },
  {
    name: 'the plain stream reader is connected, shows each line once and the status at the end, good or bad',
    async run(world) {
      const run_id = await cancelledRun(world)
      for (const path of world.paths.logs) {
        const screen = await plainStreamReader(world, `${path}?run_id=${run_id}&mode=stream`)
        assert.deepEqual([screen.connectedTo, screen.status, screen.error], [run_id, 'cancelled', null])
        const { logs } = await statusBody(world, run_id)
        assert.deepEqual(
          screen.lines,
          logs.map((log: Loose) => `${log.seq} ${log.content}`),
        )
      }
    },
  },
]
