/** The job must not go on for a reason that its owner can understand; ends as outcome `refused`. */
export class Refusal extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'Refusal'
  }
}
