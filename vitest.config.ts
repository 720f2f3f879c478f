import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** Tests of what few kernels have run in a virtual machine: `npm run test:vm` says so by this. */
const isInVm: boolean = process.env['WEFT_VM'] === '1'

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: isInVm ? [] : ['test/vm/**'],
    pool: 'forks',
    // Emulated, a process takes seconds to start.
    isolate: !isInVm,
    fileParallelism: !isInVm,
    // An emulated processor takes ten times as long.
    testTimeout: isInVm ? 120_000 : 30_000,
    hookTimeout: 60_000,
  },
})

export default config
