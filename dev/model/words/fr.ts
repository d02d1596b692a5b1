import { code, formatter } from './format.ts'
import type { Words } from './words.ts'

const { n, share } = formatter('fr-FR')
const SCRIPTED =
  "le **modèle scripté** de l'environnement local, pas un modèle de langage : ses étapes sont fixes"

export const fr: Words = {
  locale: 'fr-FR',
  kind: ({ kind, root, signature, delimiter }) =>
    ({
      json:
        root === 'array' ? 'une liste JSON' : root === 'object' ? 'un objet JSON' : 'une seule valeur JSON',
      jsonl: 'un fichier de lignes JSON',
      csv: `un tableau avec ${delimiter === '\t' ? 'des tabulations' : code(delimiter)} entre les colonnes`,
      text: 'du texte brut',
      binary: `un fichier binaire${signature === '' ? '' : ` (${signature})`}`,
      empty: 'un fichier vide',
    })[kind],
  plan: {
    goal: (file) =>
      `Dire ce que contient ${file} et ce qui ressort, avec un tableau, un graphique et une courte réponse`,
    look: [
      'Comprendre le fichier',
      'Trouver son type, sa taille et sa structure. Terminé quand ses parties sont connues.',
    ],
    compute: [
      'Calculer les chiffres',
      'Compter ce que contient le fichier, écrire un tableau et le vérifier autrement. Terminé quand tout concorde.',
    ],
    report: ['Graphique et réponse', 'Dessiner le tableau et répondre avec les chiffres des résultats.'],
    risk: "Le champ cherché n'existe peut-être pas dans le fichier",
    small: {
      goal: 'Faire une petite chose réelle avec la demande et dire ce que ceci est',
      name: 'Mesurer la demande',
      description: 'Compter et hacher la demande avec un programme, puis répondre.',
    },
  },
  before: {
    profile: (file) => `Je regarde d'abord ce qu'est ${code(file)}, sans rien supposer.`,
    guess: (field) => `Je compte maintenant les enregistrements par ${code(field)}.`,
    repair: (guess, field) =>
      `Il n'y a pas de champ ${code(guess)}, mais l'erreur nomme ceux qui existent. Je prends ${code(field)} et je relance.`,
    count: "Je compte maintenant ce qu'il contient.",
    again: "Cet appel n'est pas allé au bout, je le relance.",
    table: 'Je regarde le tableau avec le shell, pour le vérifier autrement.',
    chart: 'Je dessine le tableau.',
    message: 'Le tableau et le graphique sont là.',
    small: 'Je mesure la demande avec un petit programme.',
  },
  phaseDone: {
    look: (profile) =>
      `C'est ${fr.kind(profile)} de ${n(profile.sizeBytes)} octets${profile.collection === undefined ? '' : ` avec ${n(profile.collection.records)} enregistrements`}.`,
    compute: ({ groups, total, field }) =>
      `${n(total)} comptés${field === null ? '' : ` par ${field}`}, en ${n(groups)} groupes ; le tableau concorde.`,
  },
  message:
    'Le tableau (outputs/summary.csv) et le graphique (outputs/chart.svg) sont prêts. La réponse suit.',
  labels: {
    none: '(sans)',
    bytes: ['caractères imprimables', 'caractères de contrôle', 'octets nuls', 'octets à partir de 128'],
  },
  chart: {
    title: ({ field, profile }) =>
      field !== null
        ? `Enregistrements par ${field}`
        : profile.kind === 'text'
          ? 'Mots les plus fréquents'
          : profile.kind === 'binary'
            ? 'Octets par type'
            : 'Ce que contient le fichier',
    subtitle: ({ file, total, groups }) => `${file} · ${n(total)} comptés en ${n(groups)} groupes`,
    others: 'autres',
    empty: "Il n'y a rien à montrer.",
  },
  answer: (facts) => {
    const { profile, field, top, total } = facts
    const [first, ...others] = top
    const lines = [
      `${code(facts.file)} est ${fr.kind(profile)} de **${n(profile.sizeBytes)} octets**${profile.collection === undefined ? '' : ` avec **${n(profile.collection.records)} enregistrements** et ${n(profile.collection.fieldCount)} champs${profile.collection.path.length === 0 ? '' : ` dans ${code(profile.collection.path.join('.'))}`}`}.`,
      '',
    ]
    if (profile.kind === 'text')
      lines.push(
        `- Il a **${n(facts.words)} mots** en ${n(profile.lines)} lignes (${n(facts.characters)} caractères ; la plus longue ligne en a ${n(facts.longestLine)}).`,
      )
    if (first === undefined) lines.push("- Il n'y a rien à compter : tableau et graphique sont vides.")
    else {
      lines.push(
        `- ${field === null ? 'Compté' : `Par ${code(field)}`} : **${n(facts.groups)} groupes**. Le plus grand est **${code(first.label)} avec ${n(first.count)}** sur ${n(total)} (${share(first.count, total)})${others.length === 0 ? '' : `, puis ${others.map(({ label, count }) => `${code(label)} ${n(count)}`).join(', ')}`}.`,
      )
      if (facts.once > 0) lines.push(`- ${n(facts.once)} des groupes n'apparaissent qu'une fois.`)
    }
    if (facts.missing > 0)
      lines.push(`- ${n(facts.missing)} enregistrements n'ont pas de ${code(field ?? '')}.`)
    if (facts.flags.length > 0)
      lines.push(
        `- Marqués : ${facts.flags.map(({ name, count }) => `${code(name)} ${n(count)}`).join(', ')}.`,
      )
    for (const { field: name, sum, mean, min, max } of facts.numbers)
      lines.push(`- ${code(name)} : de ${n(min)} à ${n(max)}, moyenne ${n(mean)}, somme ${n(sum)}.`)
    if (facts.checkedSum !== null)
      lines.push(
        `- Vérification : les nombres du tableau, additionnés par le shell, font ${n(facts.checkedSum)}.`,
      )
    if (facts.wrongGuess !== null)
      lines.push(
        `- En chemin j'ai deviné un champ ${code(facts.wrongGuess)} qui n'existe pas ; l'erreur a nommé le bon, ${code(field ?? '')}.`,
      )
    if (facts.otherFiles > 0)
      lines.push(
        `- Je n'ai regardé que le premier fichier ; la demande en avait ${n(facts.otherFiles)} de plus.`,
      )
    lines.push(
      '',
      'Fichiers : `outputs/summary.csv` (tout le tableau), `outputs/chart.svg` (le graphique).',
      '',
      `*C'était ${SCRIPTED}, les chiffres non : ils sont lus dans les résultats des outils. Avec \`ANTHROPIC_API_KEY\`, c'est Claude qui travaille.*`,
    )
    return lines.join('\n')
  },
  failed: (step, times, last) =>
    `Je n'ai pas pu finir : ${step} a échoué ${times} fois. Le dernier résultat était :\n\n> ${last}\n\n*C'était ${SCRIPTED}, et il n'a pas d'autre moyen d'essayer.*`,
  small: ({ words, characters, lines, sha256, cut }) =>
    `Je suis ${SCRIPTED}. Je ne comprends pas la demande, je l'ai donc mesurée avec un programme dans le bac à sable${cut ? ` (ses premiers ${n(characters)} caractères)` : ''} : **${n(words)} mots, ${n(characters)} caractères, ${n(lines)} lignes**, SHA-256 \`${sha256}\`.\n\nPour de vraies réponses, définissez \`ANTHROPIC_API_KEY\` et relancez. Pour un travail plus long sans clé, donnez un fichier : \`npm start -- --file CHEMIN\`.`,
  steps: {
    profile: "l'examen du fichier",
    summary: 'le comptage',
    table: 'la vérification du tableau',
    chart: 'le dessin du graphique',
    small: 'la mesure de la demande',
  },
  noTools: `Je suis ${SCRIPTED}, et cette demande n'offre aucun outil que je connaisse.`,
}
