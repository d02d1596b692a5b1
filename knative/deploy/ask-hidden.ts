import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { Refusal } from './refusal.ts'

/** Asks on the terminal; what is typed or pasted is not shown and is in no history. Ctrl-C and Ctrl-D refuse. */
export function askHidden(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 })
  process.stdout.write(question)
  return new Promise((resolve, reject) => {
    let answered = false
    lines.once('line', (line) => {
      answered = true
      lines.close()
      resolve(line)
    })
    lines.once('close', () => {
      process.stdout.write('\n')
      if (!answered) reject(new Refusal('Stopped; nothing was stored.'))
    })
  })
}
