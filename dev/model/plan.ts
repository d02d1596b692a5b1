import type { Conversation } from './conversation.ts'
import { fileName } from './file-demo.ts'
import type { ScriptTurn } from './script.ts'
import type { Words } from './words/words.ts'

/** Credits of one model answer and of the tools, as the data model prices them. */
const MODEL = 5
const CODE = 2
const SHELL = 1

/** Answers the plan step: three phases for a file, one for anything else. */
export function submitPlan({ files }: Conversation, words: Words): ScriptTurn {
  const { plan } = words
  const [file] = files
  const phases =
    file === undefined
      ? [
          {
            text: [plan.small.name, plan.small.description],
            tools: ['code'],
            credits: MODEL * 2 + CODE,
            outputs: [],
          },
        ]
      : [
          { text: plan.look, tools: ['code'], credits: MODEL * 2 + CODE, outputs: [] },
          {
            text: plan.compute,
            tools: ['code', 'shell'],
            credits: MODEL * 4 + CODE * 2 + SHELL,
            outputs: ['outputs/summary.csv'],
          },
          {
            text: plan.report,
            tools: ['code', 'message'],
            credits: MODEL * 3 + CODE,
            outputs: ['outputs/chart.svg'],
          },
        ]
  const input = {
    goal: file === undefined ? plan.small.goal : plan.goal(fileName(file.path)),
    phases: phases.map(({ text: [name, description], tools, credits, outputs }, index) => ({
      phase_number: index + 1,
      name,
      description,
      required_capabilities: tools,
      estimated_credits: credits,
      dependencies: index === 0 ? [] : [index],
      expected_outputs: outputs,
    })),
    total_estimated_credits: phases.reduce((sum, { credits }) => sum + credits, 0),
    total_estimated_duration_minutes: 1,
    required_capabilities: [...new Set(phases.flatMap(({ tools }) => tools))],
    risks: file === undefined ? [] : [plan.risk],
  }
  return { text: '', call: { name: 'submit_plan', input } }
}
