/** Ways to spoil a text that was right: what a careless check might still take. */

/** One character changed at every position to another of the same alphabet, so that the form stays right. */
export function* flips(text: string, { step = 1 } = {}): Generator<[string, string]> {
  for (let at = 0; at < text.length; at += step) {
    const old = text[at] ?? ''
    if (old === '.') continue
    const changed = old === 'A' ? 'B' : 'A'
    yield [`character ${at} changed`, text.slice(0, at) + changed + text.slice(at + 1)]
  }
}

export function* truncations(text: string, { step = 1 } = {}): Generator<[string, string]> {
  for (let length = 0; length < text.length; length += step) yield [`cut to ${length}`, text.slice(0, length)]
}

/** The same length of noise, too much, too little, other alphabets; all of it fits into a header. */
export function* noise(text: string): Generator<[string, string]> {
  yield ['doubled', text + text]
  yield ['one character more', `${text}A`]
  yield ['padded', `${text}=`]
  yield ['reversed', [...text].reverse().join('')]
  yield ['upper case', text.toUpperCase()]
  yield ['quoted', `"${text}"`]
  yield ['in percent signs', [...text].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('')]
  yield ['with an umlaut', `${text}ä`]
  yield ['with a tab inside', `${text.slice(0, 9)}\t${text.slice(9)}`]
  yield ['with a space inside', `${text.slice(0, 9)} ${text.slice(9)}`]
  yield ['two of them', `${text}, ${text}`]
  yield ['two of them by semicolon', `${text};${text}`]
  yield ['of eight thousand characters', 'A'.repeat(8000)]
  yield ['of a hundred thousand characters', `${text}.${'A'.repeat(100_000)}`]
  yield ['a number', '1']
  yield ['null', 'null']
  yield ['undefined', 'undefined']
  yield ['true', 'true']
  yield ['an object', '[object Object]']
  yield ['a star', '*']
}

export const base64url = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
