import ts from 'typescript'
import type { Mutant } from './mutant.ts'

/** Mutants of a TypeScript module, from every condition in it. */
export function moduleMutants(path: string, source: string): Mutant[] {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true)
  const mutants: Mutant[] = []
  const add = (kind: string, node: ts.Node, by: string) => {
    const start = node.getStart(file)
    const text = node.getText(file)
    mutants.push({
      id: '',
      target: path,
      kind,
      line: file.getLineAndCharacterOfPosition(start).line + 1,
      text: text.replace(/\s+/g, ' '),
      by,
      apply: `${source.slice(0, start)}(${by})${source.slice(node.getEnd())}`,
    })
  }
  const condition = (node: ts.Expression) => {
    add('negated', node, `!(${node.getText(file)})`)
    add('always', node, 'true as boolean')
    add('never', node, 'false as boolean')
  }
  const visit = (node: ts.Node): void => {
    if (ts.isIfStatement(node)) condition(node.expression)
    else if (ts.isConditionalExpression(node)) condition(node.condition)
    else if (ts.isBinaryExpression(node)) {
      const sign = node.operatorToken.kind
      if (sign === ts.SyntaxKind.AmpersandAmpersandToken || sign === ts.SyntaxKind.BarBarToken) {
        add('left dropped', node, node.right.getText(file))
        add('right dropped', node, node.left.getText(file))
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return mutants
}
