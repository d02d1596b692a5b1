import { code, formatter } from './format.ts'
import type { Words } from './words.ts'

const { n, share } = formatter('de-DE')
const SCRIPTED = 'das **Skript-Modell** des lokalen Stacks, kein Sprachmodell: Die Schritte stehen fest'

export const de: Words = {
  locale: 'de-DE',
  kind: ({ kind, root, signature, delimiter }) =>
    ({
      json:
        root === 'array'
          ? 'eine JSON-Liste'
          : root === 'object'
            ? 'ein JSON-Objekt'
            : 'ein einzelner JSON-Wert',
      jsonl: 'eine Datei mit JSON-Zeilen',
      csv: `eine Tabelle mit ${delimiter === '\t' ? 'Tabulatoren' : code(delimiter)} zwischen den Spalten`,
      text: 'reiner Text',
      binary: `eine Binärdatei${signature === '' ? '' : ` (${signature})`}`,
      empty: 'eine leere Datei',
    })[kind],
  plan: {
    goal: (file) => `Sagen, was in ${file} steht und was auffällt, mit Tabelle, Diagramm und kurzer Antwort`,
    look: [
      'Datei verstehen',
      'Herausfinden, was für eine Datei es ist, wie groß und wie aufgebaut. Fertig, wenn die Teile bekannt sind.',
    ],
    compute: [
      'Zahlen berechnen',
      'Zählen, was die Datei enthält, eine Tabelle schreiben und auf anderem Weg prüfen. Fertig, wenn beides stimmt.',
    ],
    report: [
      'Diagramm und Bericht',
      'Die Tabelle als Diagramm zeichnen und mit Zahlen aus den Ergebnissen antworten.',
    ],
    risk: 'Die Datei hat vielleicht das gesuchte Feld nicht',
    small: {
      goal: 'Etwas Kleines, Echtes mit der Eingabe tun und sagen, was das hier ist',
      name: 'Eingabe messen',
      description: 'Die Eingabe mit einem Programm zählen und hashen, dann antworten.',
    },
  },
  before: {
    profile: (file) => `Zuerst sehe ich nach, was ${code(file)} ist, ohne etwas anzunehmen.`,
    guess: (field) => `Jetzt zähle ich die Datensätze nach ${code(field)}.`,
    repair: (guess, field) =>
      `Ein Feld ${code(guess)} gibt es nicht, aber der Fehler nennt die vorhandenen. Ich nehme ${code(field)} und starte noch einmal.`,
    count: 'Jetzt zähle ich, was sie enthält.',
    again: 'Dieser Aufruf kam nicht zu Ende, ich starte ihn noch einmal.',
    table: 'Ich sehe mir die Tabelle mit der Shell an, um sie auf anderem Weg zu prüfen.',
    chart: 'Ich zeichne die Tabelle als Diagramm.',
    message: 'Tabelle und Diagramm sind da.',
    small: 'Ich messe die Eingabe mit einem kleinen Programm.',
  },
  phaseDone: {
    look: (profile) =>
      `Es ist ${de.kind(profile)} mit ${n(profile.sizeBytes)} Bytes${profile.collection === undefined ? '' : ` und ${n(profile.collection.records)} Datensätzen`}.`,
    compute: ({ groups, total, field }) =>
      `${n(total)} gezählt${field === null ? '' : ` nach ${field}`}, in ${n(groups)} Gruppen; die Tabelle geht auf.`,
  },
  message:
    'Die Tabelle (outputs/summary.csv) und das Diagramm (outputs/chart.svg) sind fertig. Die Antwort folgt.',
  labels: { none: '(ohne)', bytes: ['druckbare Zeichen', 'Steuerzeichen', 'Nullbytes', 'Bytes ab 128'] },
  chart: {
    title: ({ field, profile }) =>
      field !== null
        ? `Datensätze nach ${field}`
        : profile.kind === 'text'
          ? 'Häufigste Wörter'
          : profile.kind === 'binary'
            ? 'Bytes nach Art'
            : 'Was die Datei enthält',
    subtitle: ({ file, total, groups }) => `${file} · ${n(total)} gezählt in ${n(groups)} Gruppen`,
    others: 'übrige',
    empty: 'Es gibt nichts zu zeigen.',
  },
  answer: (facts) => {
    const { profile, field, top, total } = facts
    const [first, ...others] = top
    const lines = [
      `${code(facts.file)} ist ${de.kind(profile)} mit **${n(profile.sizeBytes)} Bytes**${profile.collection === undefined ? '' : `, **${n(profile.collection.records)} Datensätzen** und ${n(profile.collection.fieldCount)} Feldern${profile.collection.path.length === 0 ? '' : ` in ${code(profile.collection.path.join('.'))}`}`}.`,
      '',
    ]
    if (profile.kind === 'text')
      lines.push(
        `- Er hat **${n(facts.words)} Wörter** in ${n(profile.lines)} Zeilen (${n(facts.characters)} Zeichen; die längste Zeile hat ${n(facts.longestLine)}).`,
      )
    if (first === undefined) lines.push('- Es gibt darin nichts zu zählen, Tabelle und Diagramm sind leer.')
    else {
      lines.push(
        `- ${field === null ? 'Gezählt' : `Nach ${code(field)}`}: **${n(facts.groups)} Gruppen**. Die größte ist **${code(first.label)} mit ${n(first.count)}** von ${n(total)} (${share(first.count, total)})${others.length === 0 ? '' : `, dann ${others.map(({ label, count }) => `${code(label)} ${n(count)}`).join(', ')}`}.`,
      )
      if (facts.once > 0) lines.push(`- ${n(facts.once)} der Gruppen kommen nur einmal vor.`)
    }
    if (facts.missing > 0) lines.push(`- ${n(facts.missing)} Datensätze haben kein ${code(field ?? '')}.`)
    if (facts.flags.length > 0)
      lines.push(
        `- Markiert: ${facts.flags.map(({ name, count }) => `${code(name)} ${n(count)}`).join(', ')}.`,
      )
    for (const { field: name, sum, mean, min, max } of facts.numbers)
      lines.push(`- ${code(name)}: von ${n(min)} bis ${n(max)}, Mittel ${n(mean)}, Summe ${n(sum)}.`)
    if (facts.checkedSum !== null)
      lines.push(`- Probe: Die Zahlen der Tabelle ergeben in der Shell zusammen ${n(facts.checkedSum)}.`)
    if (facts.wrongGuess !== null)
      lines.push(
        `- Unterwegs habe ich ein Feld ${code(facts.wrongGuess)} geraten, das es nicht gibt; der Fehler nannte das richtige, ${code(field ?? '')}.`,
      )
    if (facts.otherFiles > 0)
      lines.push(
        `- Ich habe nur die erste Datei angesehen; ${n(facts.otherFiles)} weitere kamen mit der Anfrage.`,
      )
    lines.push(
      '',
      'Dateien: `outputs/summary.csv` (die ganze Tabelle), `outputs/chart.svg` (das Diagramm).',
      '',
      `*Das war ${SCRIPTED}, die Zahlen nicht: Sie sind aus den Ergebnissen der Werkzeuge gelesen. Mit gesetztem \`ANTHROPIC_API_KEY\` arbeitet Claude.*`,
    )
    return lines.join('\n')
  },
  failed: (step, times, last) =>
    `Ich konnte nicht fertig werden: ${step} ist ${times}-mal fehlgeschlagen. Das letzte Ergebnis war:\n\n> ${last}\n\n*Das war ${SCRIPTED}, und einen anderen Weg kennt es nicht.*`,
  small: ({ words, characters, lines, sha256, cut }) =>
    `Ich bin ${SCRIPTED}. Ich verstehe die Eingabe nicht, also habe ich sie mit einem Programm in der Sandbox gemessen${cut ? ` (die ersten ${n(characters)} Zeichen)` : ''}: **${n(words)} Wörter, ${n(characters)} Zeichen, ${n(lines)} Zeilen**, SHA-256 \`${sha256}\`.\n\nFür echte Antworten \`ANTHROPIC_API_KEY\` setzen und neu starten. Für ein größeres Stück Arbeit ohne Schlüssel eine Datei mitgeben: \`npm start -- --file PFAD\`.`,
  steps: {
    profile: 'das Ansehen der Datei',
    summary: 'das Zählen',
    table: 'die Probe der Tabelle',
    chart: 'das Zeichnen des Diagramms',
    small: 'das Messen der Eingabe',
  },
  noTools: `Ich bin ${SCRIPTED}, und diese Anfrage bietet kein Werkzeug, das ich kenne.`,
}
