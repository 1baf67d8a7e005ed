/** The version of this Backout; the build writes it in. */
export const VERSION: string = process.env.BACKOUT_VERSION ?? '0.1.0'
