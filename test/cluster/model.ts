import { readConversation } from '../../dev/model/conversation.ts'
import { respond } from '../../dev/model/respond.ts'
import { type ScriptedModel, startScriptedModel } from '../../dev/model/start-scripted-model.ts'

const MARK = 'Run these commands, one after the other: '

/** A prompt that has the model run these shell commands, one call a turn, and answer "done" after the last. `ask: …` asks the user. */
export function commandsPrompt(commands: readonly string[]): string {
  return MARK + JSON.stringify(commands)
}

/** The local stack's scripted model, which does besides what `commandsPrompt` says. */
export function startCommandModel(): Promise<ScriptedModel> {
  return startScriptedModel({
    tokensPerSecond: Number.POSITIVE_INFINITY,
    respond(request) {
      const { prompt, calls } = readConversation(request)
      const isCommands = prompt.startsWith(MARK) && request.tools.some(({ name }) => name === 'shell')
      if (!isCommands) return respond(request)
      const commands = JSON.parse(prompt.slice(MARK.length)) as string[]
      const command = commands[calls.length]
      if (command === undefined) return { text: 'done' }
      if (command.startsWith('ask: '))
        return { text: '', call: { name: 'ask_user', input: { question: command.slice(5) } } }
      return { text: '', call: { name: 'shell', input: { command } } }
    },
  })
}
