import { expect, test } from 'vitest'
import { cleanText } from './clean-text.ts'

test.each([
  ['\u001B[2J\u001B[1;31mred\u001B[0m', 'red'],
  ['\u001B]0;title\u0007x\u001B]8;;http://evil\u001B\\link\u001B]8;;\u001B\\', 'xlink'],
  ['\u001B]52;c;never ends', ''],
  ['\u009B31mx\u0090dcs\u009Cy', 'xy'],
  ['\u001BcReset\u001B(B', 'Reset'],
  ['over\rwritten\u0008\u0000', 'overwritten'],
  ['a\r\nb\tc\n', 'a\nb\tc\n'],
  ['\u202Egpj.exe\u2066', 'gpj.exe'],
  ['Zürich 東京 👩‍👩‍👧', 'Zürich 東京 👩‍👩‍👧'],
])('%j', (text, clean) => {
  expect(cleanText(text)).toBe(clean)
})

// with quadratic work it would take hours
test('a megabyte of escape characters is cleaned like a few', () => {
  expect(cleanText('\u001B['.repeat(500_000))).not.toContain('\u001B')
  expect(cleanText('\u001B]'.repeat(500_000))).not.toContain('\u001B')
})
