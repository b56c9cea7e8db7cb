// Whether a model has room to write its own calibration text: each token reads all of it, so it is held in float32, a
// mixture with all its experts. Pruning itself holds a half-block, or an expert.
import { bytes } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { roomForData } from '../base/memory-limits.node.ts'
import type { PreparedRun } from '../prune/run.ts'
import { writesText } from '../text/calibration.ts'
import { ownTextBytes } from '../text/sample.ts'

/** @param memory bytes that there are @throws UsageError where a model that is larger is to write a text */
export function checkOwnText(
  {
    model: { checkpoint, architecture },
    options,
    calibration,
  }: Pick<PreparedRun, 'model' | 'calibration'> & { readonly options: Parameters<typeof ownTextBytes>[1] },
  memory = roomForData(),
): void {
  if (!writesText(calibration)) return
  const needed = ownTextBytes(architecture, options)
  if (needed > memory)
    throw new UsageError(
      `${checkpoint.name}: without a text to calibrate on the model writes one itself, for which all of it is held ` +
        `in float32: ${bytes(needed)}, and this machine, its container or ulimit -v has room for ${bytes(memory)}. ` +
        'Give --calibration <text file>; then one layer at a time is in memory.',
    )
}
