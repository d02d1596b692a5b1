import { code, formatter } from './format.ts'
import type { Words } from './words.ts'

const { n, share } = formatter('en-US')
const SCRIPTED = 'the **scripted model** of the local stack, not a language model: the steps are fixed'

export const en: Words = {
  locale: 'en-US',
  kind: ({ kind, root, signature, delimiter }) =>
    ({
      json: root === 'array' ? 'a JSON array' : root === 'object' ? 'a JSON object' : 'a single JSON value',
      jsonl: 'a file of JSON lines',
      csv: `a table with ${delimiter === '\t' ? 'tabs' : code(delimiter)} between the columns`,
      text: 'plain text',
      binary: `a binary file${signature === '' ? '' : ` (${signature})`}`,
      empty: 'an empty file',
    })[kind],
  plan: {
    goal: (file) => `Say what is in ${file} and what stands out, with a table, a chart and a short answer`,
    look: [
      'Understand the file',
      'Find out which kind of file it is, how big, and how it is built. Done when its parts are known.',
    ],
    compute: [
      'Compute the numbers',
      'Count what the file holds, write a table and check it by other means. Done when both agree.',
    ],
    report: ['Chart and report', 'Draw the table as a chart and answer with numbers from the results.'],
    risk: 'The file may not have the field that is looked for',
    small: {
      goal: 'Do a small real thing with the prompt and say what this is',
      name: 'Measure the prompt',
      description: 'Count and hash the prompt with a program, then answer.',
    },
  },
  before: {
    profile: (file) => `First I look at what ${code(file)} is, without assuming anything.`,
    guess: (field) => `Now I count the records by ${code(field)}.`,
    repair: (guess, field) =>
      `There is no ${code(guess)}, but the error names the fields there are. I take ${code(field)} and run it again.`,
    count: 'Now I count what it holds.',
    again: 'That call did not come to an end, so I run it once more.',
    table: 'I look at the table with the shell, to check it by other means.',
    chart: 'I draw the table as a chart.',
    message: 'Table and chart are there.',
    small: 'I measure the prompt with a small program.',
  },
  phaseDone: {
    look: (profile) =>
      `It is ${en.kind(profile)} of ${n(profile.sizeBytes)} bytes${profile.collection === undefined ? '' : ` with ${n(profile.collection.records)} records`}.`,
    compute: ({ groups, total, field }) =>
      `${n(total)} counted${field === null ? '' : ` by ${field}`}, in ${n(groups)} groups; the table adds up.`,
  },
  message: 'The table (outputs/summary.csv) and the chart (outputs/chart.svg) are ready. The answer follows.',
  labels: {
    none: '(none)',
    bytes: ['printable characters', 'control characters', 'zero bytes', 'bytes from 128 up'],
  },
  chart: {
    title: ({ field, profile }) =>
      field !== null
        ? `Records by ${field}`
        : profile.kind === 'text'
          ? 'Most frequent words'
          : profile.kind === 'binary'
            ? 'Bytes by kind'
            : 'What the file holds',
    subtitle: ({ file, total, groups }) => `${file} · ${n(total)} counted in ${n(groups)} groups`,
    others: 'others',
    empty: 'There is nothing to show.',
  },
  answer: (facts) => {
    const { profile, field, top, total } = facts
    const [first, ...others] = top
    const lines = [
      `${code(facts.file)} is ${en.kind(profile)} of **${n(profile.sizeBytes)} bytes**${profile.collection === undefined ? '' : ` with **${n(profile.collection.records)} records** and ${n(profile.collection.fieldCount)} fields${profile.collection.path.length === 0 ? '' : ` in ${code(profile.collection.path.join('.'))}`}`}.`,
      '',
    ]
    if (profile.kind === 'text')
      lines.push(
        `- It has **${n(facts.words)} words** in ${n(profile.lines)} lines (${n(facts.characters)} characters; the longest line has ${n(facts.longestLine)}).`,
      )
    if (first === undefined) lines.push('- There is nothing in it to count, so table and chart are empty.')
    else {
      lines.push(
        `- ${field === null ? 'Counted' : `By ${code(field)}`}: **${n(facts.groups)} groups**. The largest is **${code(first.label)} with ${n(first.count)}** of ${n(total)} (${share(first.count, total)})${others.length === 0 ? '' : `, then ${others.map(({ label, count }) => `${code(label)} ${n(count)}`).join(', ')}`}.`,
      )
      if (facts.once > 0) lines.push(`- ${n(facts.once)} of the groups occur only once.`)
    }
    if (facts.missing > 0) lines.push(`- ${n(facts.missing)} records have no ${code(field ?? '')}.`)
    if (facts.flags.length > 0)
      lines.push(`- Marked: ${facts.flags.map(({ name, count }) => `${code(name)} ${n(count)}`).join(', ')}.`)
    for (const { field: name, sum, mean, min, max } of facts.numbers)
      lines.push(`- ${code(name)}: from ${n(min)} to ${n(max)}, mean ${n(mean)}, sum ${n(sum)}.`)
    if (facts.checkedSum !== null)
      lines.push(`- Check: the counts in the table, added up by the shell, make ${n(facts.checkedSum)}.`)
    if (facts.wrongGuess !== null)
      lines.push(
        `- On the way I guessed a field ${code(facts.wrongGuess)} that does not exist; the error named the right one, ${code(field ?? '')}.`,
      )
    if (facts.otherFiles > 0)
      lines.push(`- I looked at the first file only; ${n(facts.otherFiles)} more came with the request.`)
    lines.push(
      '',
      'Files: `outputs/summary.csv` (the whole table), `outputs/chart.svg` (the chart).',
      '',
      `*This was ${SCRIPTED}, the numbers are not: they were read from the tool results. With \`ANTHROPIC_API_KEY\` set, Claude does the work.*`,
    )
    return lines.join('\n')
  },
  failed: (step, times, last) =>
    `I could not finish: ${step} failed ${times} times. The last result was:\n\n> ${last}\n\n*This was ${SCRIPTED}, and it has no other way to try.*`,
  small: ({ words, characters, lines, sha256, cut }) =>
    `I am ${SCRIPTED}. I do not understand your prompt, so I measured it with a program in the sandbox${cut ? ` (its first ${n(characters)} characters)` : ''}: **${n(words)} words, ${n(characters)} characters, ${n(lines)} lines**, SHA-256 \`${sha256}\`.\n\nFor real answers set \`ANTHROPIC_API_KEY\` and start again. To see a longer piece of work without it, give me a file: \`npm start -- --file PATH\`.`,
  steps: {
    profile: 'looking at the file',
    summary: 'counting',
    table: 'the check of the table',
    chart: 'drawing the chart',
    small: 'measuring the prompt',
  },
  noTools: `I am ${SCRIPTED}, and this request offers no tool I know.`,
}
