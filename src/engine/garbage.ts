/**
 * A flag of V8 for programs of their own: garbage is marked in one piece. Weights and Gram matrices that come and go make V8 begin again and
 * again, and while it marks little by little, its threads take the cores from the engine's (docs/log.md).
 */
export const MARK_IN_ONE_PIECE = '--no-incremental-marking'
