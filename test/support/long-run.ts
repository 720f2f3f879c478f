/** Whether tests that can go on for as long as one likes shall: `WEFT_LONG_TESTS=1`, for minutes more. */
export const isLongRun: boolean = process.env['WEFT_LONG_TESTS'] === '1'
