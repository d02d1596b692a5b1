import { storableJson } from '../../core/storable-json.ts'
import { makeInvalidToolInput } from '../../core/tool-input.ts'

/**
 * The input of a tool call from its streamed JSON. Never throws: what is no JSON object becomes the marker of
 * shared/core/tool-input.ts. `cutOff`: the turn ended (max_tokens) inside this block, so even nothing at all is not "no input".
 */
export function readToolInput(json: string, cutOff: boolean): unknown {
  if (json.trim() === '' && !cutOff) return {}
  if (cutOff && !isJson(json)) {
    return makeInvalidToolInput(
      json,
      'The answer reached its length limit inside this tool call, so its input is incomplete.',
    )
  }
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    const detail = error instanceof Error ? error.message.slice(0, 200) : 'no JSON'
    return makeInvalidToolInput(json, `The input is not valid JSON: ${detail}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return makeInvalidToolInput(json, 'The input must be a JSON object.')
  }
  return storableJson(value) ?? makeInvalidToolInput(json, 'The input is nested too deep.')
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
