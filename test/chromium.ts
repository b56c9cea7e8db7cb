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

/** Its own adapter for WebGPU, in software. */
const SOFTWARE_GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']

/** @param gpu whether pages have WebGPU */
export const openChromium = (
  executablePath = process.env.FASP_CHROMIUM ?? '/usr/bin/chromium',
  gpu = false,
): Promise<Browser> => chromium.launch({ executablePath, args: [...FLAGS, ...(gpu ? SOFTWARE_GPU : [])] })
