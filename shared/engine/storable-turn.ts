import { storableJson } from '../core/storableJson.ts'
import { makeInvalidToolInput } from '../core/toolInput.ts'
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
