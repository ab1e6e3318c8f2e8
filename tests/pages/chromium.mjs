// Debian's Chromium, and the pages that it opens: made anew from the bundles of vectors/ each time.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const ROOT = join(import.meta.dirname, "../..");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");

/** Where pages and pictures of them are left, for people to look at. */
export const OUT = join(TARGET, "pages");

export const EXPECTED = join(import.meta.dirname, "expected");

/** One page for each kind of verdict that people meet. */
export const KINDS = ["verified", "offline", "refused", "cannot-tell", "relayed", "free", "sealed", "live"];

/** One in which every word of others wants to act. */
export const HOSTILE = "hostile";

/** Writes the pages. */
export function makePages() {
  mkdirSync(OUT, { recursive: true });
  // The whole workspace: with one package alone its dependencies would be built again, with other features.
  const args = ["build", "--quiet", "--release", "--locked", "--workspace", "--example", "pages"];
  const stdio = ["ignore", "inherit", "inherit"];
  execFileSync("cargo", args, { cwd: ROOT, stdio });
  execFileSync(join(TARGET, "release/examples/pages"), [OUT], { cwd: ROOT, stdio });
}

/** Starts the browser, or says exactly what is missing. */
export function launch() {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`${CHROMIUM} is missing; install it: apt-get update && apt-get install -y chromium`);
  }
  // As root, as in a container, Chromium starts without its sandbox only; what it opens here are pages of ours.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** Opens a page; whatever it asks of a network and whatever it complains of is kept beside it. */
export async function open(browser, kind, { width = 1280, colorScheme = "light" } = {}) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const address = pathToFileURL(join(OUT, `${kind}.html`)).href;
  const requests = [];
  const complaints = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  return { page, address, requests, complaints };
}

/** Opens every fold, or shuts it. */
export function fold(page, isOpen) {
  return page.evaluate((isOpen) => document.querySelectorAll("details").forEach((fold) => (fold.open = isOpen)), isOpen);
}

/** What a screen reader is told. */
export async function spoken(page) {
  return `${await page.locator("body").ariaSnapshot()}\n`;
}

/** Elements whose colours mean something, by what they are called here. */
const COLOURED = {
  paper: ["body", "background-color"],
  ink: ["body", "color"],
  "simulated strip": [".sim", "background-color"],
  "simulated word": [".sim strong", "color"],
  "simulated chip": [".simchip", "color"],
  "glyph of the verdict": ["h1 .i .d", "stroke"],
  "grade of what ran": [".qs .q:nth-child(1) .grade", "color"],
  "grade of who saw it": [".qs .q:nth-child(2) .grade", "color"],
  "grade of the payment": [".qs .q:nth-child(3) .grade", "color"],
  "grade of the log": [".q4 .grade", "color"],
  "bar beside the answer": [".talk dd:last-child", "border-left-color"],
  "ground of the answer": [".talk dd:last-child", "background-color"],
  "warning beside the answer": [".badnote", "color"],
  "hashes": [".case .h", "color"],
};

/** The colours that a browser computes, one a line; those that this page does not have are left out. */
export async function colours(page) {
  const found = await page.evaluate((coloured) => {
    // A glyph is drawn once and referred to: its colour is that of the symbol.
    const drawn = (selector) => {
      const [outer, inner] = selector.split(" .d");
      const use = inner === undefined ? null : document.querySelector(`${outer} use`);
      return use ? document.querySelector(`${use.getAttribute("href")} .d`) : document.querySelector(selector);
    };
    return Object.entries(coloured).map(([name, [selector, property]]) => {
      const element = drawn(selector);
      return element && `${name}: ${getComputedStyle(element).getPropertyValue(property)}`;
    });
  }, COLOURED);
  return `${found.filter(Boolean).join("\n")}\n`;
}

/** Contrast of what the picture draws against its paper, by WCAG 2: [what, ratio]. axe does not look behind text in SVG. */
export async function contrasts(page) {
  const [paper, ...drawn] = await page.evaluate(() => {
    const of = (element, property) => [element.textContent || element.getAttribute("class"), getComputedStyle(element).getPropertyValue(property)];
    const texts = [...document.querySelectorAll(".chain text")].map((text) => of(text, "fill"));
    const rings = [...document.querySelectorAll(".glyphs .d")].map((ring) => of(ring, "stroke"));
    return [of(document.body, "background-color"), ...texts, ...rings];
  });
  return drawn.map(([what, colour]) => [what, ratio(luminance(colour), luminance(paper[1]))]);
}

const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

function luminance(colour) {
  const [red, green, blue] = colour.match(/\d+/g).map((channel) => {
    const part = Number(channel) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
