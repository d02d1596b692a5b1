/** Mutants that no test can tell from the original, each with the reason. An entry that is noticed after all, or names nothing, fails. */
export const SURVIVORS: { id: string; reason: string }[] = [
  {
    id: "private.settle_step: and dropped: kind = 'reserve' → true",
    reason:
      'A step is settled once: until then its reservation is its only row in the ledger. A second settling is refused by the unique index credit_ledger_settled.',
  },
]
