/** Thrown into workflows when this process lets go of a run. Never journalled: the next owner goes on from the journal. */
export class Halted extends Error {}
