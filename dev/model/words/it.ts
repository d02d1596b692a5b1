import { code, formatter } from './format.ts'
import type { Words } from './words.ts'

const { n, share } = formatter('it-IT')
const SCRIPTED =
  "il **modello a copione** dell'ambiente locale, non un modello linguistico: i suoi passi sono fissi"

export const it: Words = {
  locale: 'it-IT',
  kind: ({ kind, root, signature, delimiter }) =>
    ({
      json:
        root === 'array'
          ? 'una lista JSON'
          : root === 'object'
            ? 'un oggetto JSON'
            : 'un singolo valore JSON',
      jsonl: 'un file di righe JSON',
      csv: `una tabella con ${delimiter === '\t' ? 'tabulazioni' : code(delimiter)} tra le colonne`,
      text: 'testo semplice',
      binary: `un file binario${signature === '' ? '' : ` (${signature})`}`,
      empty: 'un file vuoto',
    })[kind],
  plan: {
    goal: (file) =>
      `Dire che cosa contiene ${file} e che cosa spicca, con una tabella, un grafico e una risposta breve`,
    look: [
      'Capire il file',
      'Scoprire che tipo di file è, quanto è grande e come è fatto. Finito quando le sue parti sono note.',
    ],
    compute: [
      'Calcolare i numeri',
      'Contare ciò che il file contiene, scrivere una tabella e verificarla in altro modo. Finito quando tutto torna.',
    ],
    report: ['Grafico e risposta', 'Disegnare la tabella e rispondere con i numeri dei risultati.'],
    risk: 'Il campo cercato potrebbe non esistere nel file',
    small: {
      goal: 'Fare una piccola cosa reale con la richiesta e dire che cosa è questo',
      name: 'Misurare la richiesta',
      description: 'Contare la richiesta e calcolarne la hash con un programma, poi rispondere.',
    },
  },
  before: {
    profile: (file) => `Prima guardo che cosa è ${code(file)}, senza supporre nulla.`,
    guess: (field) => `Ora conto i record per ${code(field)}.`,
    repair: (guess, field) =>
      `Non c'è un campo ${code(guess)}, ma l'errore nomina quelli che esistono. Prendo ${code(field)} e riprovo.`,
    count: 'Ora conto ciò che contiene.',
    again: 'Quella chiamata non è arrivata alla fine, la ripeto.',
    table: 'Guardo la tabella con la shell, per verificarla in altro modo.',
    chart: 'Disegno la tabella.',
    message: 'Tabella e grafico sono pronti.',
    small: 'Misuro la richiesta con un piccolo programma.',
  },
  phaseDone: {
    look: (profile) =>
      `È ${it.kind(profile)} di ${n(profile.sizeBytes)} byte${profile.collection === undefined ? '' : ` con ${n(profile.collection.records)} record`}.`,
    compute: ({ groups, total, field }) =>
      `${n(total)} contati${field === null ? '' : ` per ${field}`}, in ${n(groups)} gruppi; la tabella torna.`,
  },
  message:
    'La tabella (outputs/summary.csv) e il grafico (outputs/chart.svg) sono pronti. Segue la risposta.',
  labels: {
    none: '(senza)',
    bytes: ['caratteri stampabili', 'caratteri di controllo', 'byte zero', 'byte da 128 in su'],
  },
  chart: {
    title: ({ field, profile }) =>
      field !== null
        ? `Record per ${field}`
        : profile.kind === 'text'
          ? 'Parole più frequenti'
          : profile.kind === 'binary'
            ? 'Byte per tipo'
            : 'Che cosa contiene il file',
    subtitle: ({ file, total, groups }) => `${file} · ${n(total)} contati in ${n(groups)} gruppi`,
    others: 'altri',
    empty: "Non c'è nulla da mostrare.",
  },
  answer: (facts) => {
    const { profile, field, top, total } = facts
    const [first, ...others] = top
    const lines = [
      `${code(facts.file)} è ${it.kind(profile)} di **${n(profile.sizeBytes)} byte**${profile.collection === undefined ? '' : ` con **${n(profile.collection.records)} record** e ${n(profile.collection.fieldCount)} campi${profile.collection.path.length === 0 ? '' : ` in ${code(profile.collection.path.join('.'))}`}`}.`,
      '',
    ]
    if (profile.kind === 'text')
      lines.push(
        `- Ha **${n(facts.words)} parole** in ${n(profile.lines)} righe (${n(facts.characters)} caratteri; la riga più lunga ne ha ${n(facts.longestLine)}).`,
      )
    if (first === undefined) lines.push("- Non c'è nulla da contare: tabella e grafico sono vuoti.")
    else {
      lines.push(
        `- ${field === null ? 'Contato' : `Per ${code(field)}`}: **${n(facts.groups)} gruppi**. Il più grande è **${code(first.label)} con ${n(first.count)}** su ${n(total)} (${share(first.count, total)})${others.length === 0 ? '' : `, poi ${others.map(({ label, count }) => `${code(label)} ${n(count)}`).join(', ')}`}.`,
      )
      if (facts.once > 0) lines.push(`- ${n(facts.once)} dei gruppi compaiono una volta sola.`)
    }
    if (facts.missing > 0) lines.push(`- ${n(facts.missing)} record non hanno ${code(field ?? '')}.`)
    if (facts.flags.length > 0)
      lines.push(
        `- Segnati: ${facts.flags.map(({ name, count }) => `${code(name)} ${n(count)}`).join(', ')}.`,
      )
    for (const { field: name, sum, mean, min, max } of facts.numbers)
      lines.push(`- ${code(name)}: da ${n(min)} a ${n(max)}, media ${n(mean)}, somma ${n(sum)}.`)
    if (facts.checkedSum !== null)
      lines.push(`- Verifica: i numeri della tabella, sommati dalla shell, fanno ${n(facts.checkedSum)}.`)
    if (facts.wrongGuess !== null)
      lines.push(
        `- Per strada ho indovinato un campo ${code(facts.wrongGuess)} che non esiste; l'errore ha nominato quello giusto, ${code(field ?? '')}.`,
      )
    if (facts.otherFiles > 0)
      lines.push(
        `- Ho guardato solo il primo file; con la richiesta ne sono arrivati altri ${n(facts.otherFiles)}.`,
      )
    lines.push(
      '',
      'File: `outputs/summary.csv` (tutta la tabella), `outputs/chart.svg` (il grafico).',
      '',
      `*Questo era ${SCRIPTED}, i numeri no: sono letti dai risultati degli strumenti. Con \`ANTHROPIC_API_KEY\` lavora Claude.*`,
    )
    return lines.join('\n')
  },
  failed: (step, times, last) =>
    `Non ho potuto finire: ${step} non è riuscito ${times} volte. L'ultimo risultato era:\n\n> ${last}\n\n*Questo era ${SCRIPTED}, e non conosce altre strade.*`,
  small: ({ words, characters, lines, sha256, cut }) =>
    `Sono ${SCRIPTED}. Non capisco la richiesta, quindi l'ho misurata con un programma nella sandbox${cut ? ` (i primi ${n(characters)} caratteri)` : ''}: **${n(words)} parole, ${n(characters)} caratteri, ${n(lines)} righe**, SHA-256 \`${sha256}\`.\n\nPer risposte vere impostate \`ANTHROPIC_API_KEY\` e riavviate. Per un lavoro più lungo senza chiave, date un file: \`npm start -- --file PERCORSO\`.`,
  steps: {
    profile: "l'esame del file",
    summary: 'il conteggio',
    table: 'la verifica della tabella',
    chart: 'il disegno del grafico',
    small: 'la misura della richiesta',
  },
  noTools: `Sono ${SCRIPTED}, e questa richiesta non offre strumenti che conosco.`,
}
