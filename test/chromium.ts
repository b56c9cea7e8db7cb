// Debian's Chromium, without a screen. It asks nobody but the tests.
import { type Browser, chromium } from 'playwright-core'

const FLAGS = [
  '--no-sandbox', // as root
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const openChromium = (executablePath = process.env.FASP_CHROMIUM ?? '/usr/bin/chromium'): Promise<Browser> =>
  chromium.launch({ executablePath, args: FLAGS })
