/** Why a command cannot go on. The message says what to do and never holds a value that was given. */
export class Refusal extends Error {
  override name = 'Refusal'
}
