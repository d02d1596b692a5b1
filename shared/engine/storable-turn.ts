import { storableJson } from '../core/storable-json.ts'
import { makeInvalidToolInput } from '../core/tool-input.ts'
import type { ModelTurn } from '../ports/model.ts'

/** The turn as Postgres can hold it; a tool input nested too deep becomes one that is answered with an error. */
export function storableTurn(turn: ModelTurn): ModelTurn {
  return {
    ...turn,
    blocks: turn.blocks.map((block) => {
      if (block.type === 'tool_use') {
        const input = storableJson(block.input) ?? makeInvalidToolInput('', 'Its input was nested too deep.')
        return { ...block, name: block.name.slice(0, 200), input }
      }
      return storableJson(block) as typeof block
    }),
  }
}
