import { basename, resolve } from 'node:path'
import ts from 'typescript'

const repository = resolve(import.meta.dirname, '../..')
/** The module whose types come from the service's schemas: these are written out in full. */
const SCHEMA_TYPES = 'types.ts'

/** One declaration file for a module and all that it imports, without an import of its own. */
export function rollUpTypes(entry: string): string {
  const program = ts.createProgram([entry], {
    ...compilerOptions(),
    declaration: true,
    emitDeclarationOnly: true,
  })
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(entry)
  const module = source && checker.getSymbolAtLocation(source)
  if (module === undefined) throw new Error(`${entry} exports nothing`)
  const published = new Set(checker.getExportsOfModule(module).map(({ name }) => name))
  const folder = resolve(entry, '..')
  const modules = program
    .getSourceFiles()
    .filter((file) => resolve(file.fileName, '..') === folder && resolve(file.fileName) !== resolve(entry))
  const faults = modules.flatMap((file) => program.getSemanticDiagnostics(file))
  if (faults.length > 0) throw new Error(ts.formatDiagnostics(faults, formatHost))
  const statements = modules.flatMap((file) => {
    const isSchemas = basename(file.fileName) === SCHEMA_TYPES
    return declarationsIn(isSchemas ? expandedTypes(file, checker) : emitted(program, file))
  })
  const kept = reachable(statements, published)
  const text = kept
    .map(({ name, text: declaration }) =>
      published.has(name) ? declaration : declaration.replace(/^export /m, ''),
    )
    .join('\n')
  // The last line makes everything without `export` private to the file.
  const whole = ts.createSourceFile('agent-client.d.ts', `${text}\nexport {}`, ts.ScriptTarget.ESNext, true)
  return ts.createPrinter().printFile(whole)
}

interface Declared {
  name: string
  text: string
  /** Names of types in it. */
  mentions: Set<string>
}

/** The published declarations, and those that they mention. */
function reachable(statements: readonly Declared[], published: ReadonlySet<string>): Declared[] {
  const kept = new Set(statements.filter(({ name }) => published.has(name)))
  for (const { mentions } of kept) {
    // What is added here is looked at too: a set's loop comes to it.
    for (const other of statements) if (mentions.has(other.name)) kept.add(other)
  }
  return statements.filter((statement) => kept.has(statement))
}

function compilerOptions(): ts.CompilerOptions {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: fail }
  const parsed = ts.getParsedCommandLineOfConfigFile(
    resolve(repository, 'tsconfig.json'),
    { noEmit: false },
    host,
  )
  if (parsed === undefined) throw new Error('tsconfig.json cannot be read')
  return parsed.options
}

function fail(diagnostic: ts.Diagnostic): never {
  throw new Error(ts.formatDiagnostic(diagnostic, formatHost))
}

const formatHost: ts.FormatDiagnosticsHost = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => repository,
  getNewLine: () => '\n',
}

function emitted(program: ts.Program, file: ts.SourceFile): string {
  let text = ''
  const write = (_name: string, output: string) => {
    text = output
  }
  program.emit(file, write, undefined, true)
  return text
}

/** The declarations of a module, without its imports and re-exports. */
function declarationsIn(text: string): Declared[] {
  return ts
    .createSourceFile('x.d.ts', text, ts.ScriptTarget.ESNext, true)
    .statements.filter(
      (statement) => !ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement),
    )
    .map((statement) => ({
      name: nameOf(statement),
      text: statement.getFullText().trim(),
      mentions: typesIn(statement),
    }))
}

function typesIn(statement: ts.Statement): Set<string> {
  const names = new Set<string>()
  const visit = (node: ts.Node) => {
    if (ts.isTypeReferenceNode(node)) names.add(node.typeName.getText())
    if (ts.isExpressionWithTypeArguments(node)) names.add(node.expression.getText())
    ts.forEachChild(node, visit)
  }
  visit(statement)
  return names
}

function nameOf(statement: ts.Statement): string {
  const name = ts.isVariableStatement(statement)
    ? statement.declarationList.declarations[0]?.name
    : (statement as ts.DeclarationStatement).name
  return name?.getText() ?? ''
}

/** Each exported type of the module in full, in terms of the module's other ones. */
function expandedTypes(file: ts.SourceFile, checker: ts.TypeChecker): string {
  const names = new Map<ts.Type, string>()
  const module = checker.getSymbolAtLocation(file)
  const symbols = module === undefined ? [] : checker.getExportsOfModule(module)
  for (const symbol of symbols) {
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    if (!names.has(type)) names.set(type, symbol.name)
  }
  const texts = symbols.map((symbol) => {
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    const known = names.get(type)
    const body = known === symbol.name ? written(type) : known
    return `${comment(symbol)}export type ${symbol.name} = ${body}`
  })
  return texts.join('\n')

  function typeText(type: ts.Type): string {
    return names.get(type) ?? written(type)
  }

  function written(type: ts.Type): string {
    if (type.flags & (ts.TypeFlags.Boolean | ts.TypeFlags.EnumLike)) return checker.typeToString(type)
    if (type.isUnion()) return unionText(type)
    if (checker.isArrayType(type)) {
      const [item] = checker.getTypeArguments(type as ts.TypeReference)
      const isReadonly = type.symbol.name === 'ReadonlyArray'
      return `${isReadonly ? 'Readonly' : ''}Array<${item === undefined ? 'unknown' : typeText(item)}>`
    }
    const isObject = (type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection)) !== 0
    const index = checker.getIndexInfosOfType(type)[0]
    if (isObject && index !== undefined) return `Record<${typeText(index.keyType)}, ${typeText(index.type)}>`
    if (isObject && type.getCallSignatures().length === 0) return objectText(type)
    return checker.typeToString(type, undefined, ts.TypeFormatFlags.NoTruncation)
  }

  function unionText(type: ts.UnionType): string {
    const present = checker.getNonNullableType(type)
    const known = names.get(present)
    if (known !== undefined && present !== type) {
      const absent = [ts.TypeFlags.Null, ts.TypeFlags.Undefined].flatMap((flag) =>
        type.types.filter(({ flags }) => flags & flag),
      )
      return [known, ...absent.map((member) => checker.typeToString(member))].join(' | ')
    }
    const isBoolean = ({ flags }: ts.Type) => (flags & ts.TypeFlags.BooleanLiteral) !== 0
    const members = type.types.filter((member) => !isBoolean(member)).map(typeText)
    const literals = type.types.filter(isBoolean)
    if (literals.length === 2) members.push('boolean')
    else members.push(...literals.map((literal) => checker.typeToString(literal)))
    // Absent values last; otherwise by name, as the compiler's own order is that of its work.
    const rank = (text: string) => ['null', 'undefined'].indexOf(text)
    return members.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).join(' | ')
  }

  function objectText(type: ts.Type): string {
    const lines = checker.getPropertiesOfType(type).map((property) => {
      const isOptional = (property.flags & ts.SymbolFlags.Optional) !== 0
      return `${comment(property)}${property.name}${isOptional ? '?' : ''}: ${typeText(checker.getTypeOfSymbol(property))}`
    })
    return `{\n${lines.join('\n').replace(/^/gm, '  ')}\n}`
  }

  function comment(symbol: ts.Symbol): string {
    const text = ts.displayPartsToString(symbol.getDocumentationComment(checker))
    return text === '' ? '' : `/** ${text.replaceAll('\n', '\n * ')} */\n`
  }
}
