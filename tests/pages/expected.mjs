// What a page tells a screen reader, and its colours in light and dark: one committed text for each kind.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { EXPECTED, colours, fold, open, spoken } from "./chromium.mjs";

export const file = (kind) => join(EXPECTED, `${kind}.txt`);

export const committed = (kind) => readFileSync(file(kind), "utf8");

/** The same of the page as it is now. */
export async function current(browser, kind) {
  const parts = [];
  for (const colorScheme of ["light", "dark"]) {
    const { page } = await open(browser, kind, { colorScheme });
    parts.push(`== colours, ${colorScheme}\n${await colours(page)}`);
    if (colorScheme === "dark") {
      // One kind with its folds open: what they hold is the same in all of them, and held by the tests of the crate.
      await fold(page, kind === "verified");
      parts.push(`== spoken\n${await spoken(page)}`);
    }
    await page.close();
  }
  return withoutHashes(parts.join("\n"));
}

/** The vectors' attestation root is made anew when they are, and hashes follow from it: that each is there is what counts. */
const withoutHashes = (text) => text.replace(/\b[0-9a-f]{6}…[0-9a-f]{4}\b/g, "(hash)").replace(/\b(0x)?[0-9a-f]{40,}\b/g, "(whole hash)");
