/**
 * What a terminal would act on: escape sequences (CSI, OSC and the other strings, two-character ones), then any other control
 * character but newline and tab, then the invisible ones that reorder text. Tool output and model answers are foreign text: they
 * must not move the cursor, retitle the window, or hide what they say.
 */
// biome-ignore-start lint/suspicious/noControlCharactersInRegex: they are what is looked for
const SEQUENCES =
  /(?:\u001B\[|\u009B)[0-?]*[ -/]*[@-~]|(?:\u001B[\]PX^_]|[\u0090\u0098\u009D-\u009F])[^\u0007\u001B\u009C]*(?:\u0007|\u001B\\|\u009C|$)|\u001B[ -/]*[0-~]/g
const CONTROLS = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069]/g
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: they are what is looked for

export function cleanText(text: string): string {
  return text.replaceAll('\r\n', '\n').replaceAll(SEQUENCES, '').replaceAll(CONTROLS, '')
}
