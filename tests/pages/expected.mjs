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
  return parts.join("\n");
}
