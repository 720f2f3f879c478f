/** The versions of the CNI specification that Weft speaks. */

/** Oldest first. A configuration's version must be exactly one of these: no ranges, no abbreviations. */
export const CNI_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

export type CniVersion = (typeof CNI_VERSIONS)[number]

/** Used where no configuration tells the version. The relay's C says the same. */
export const CNI_VERSION_LATEST: CniVersion = '1.1.0'

/** What a configuration without a version means. */
export const CNI_VERSION_ABSENT: CniVersion = '0.1.0'

export function isCniVersion(text: string): text is CniVersion {
  return (CNI_VERSIONS as readonly string[]).includes(text)
}

export function atLeast(version: CniVersion, floor: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(floor)
}
