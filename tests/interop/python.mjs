// A Python with the packages of requirements.txt, in a virtual environment beside node_modules; made when it is first asked for.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

export function python() {
  const folder = join(import.meta.dirname, "node_modules", ".python");
  const program = join(folder, "bin", "python");
  const options = { stdio: ["ignore", "inherit", "inherit"], timeout: 300_000 };
  try {
    if (!existsSync(program)) execFileSync("python3", ["-m", "venv", folder], options);
    execFileSync(program, ["-m", "pip", "install", "--quiet", "-r", join(import.meta.dirname, "requirements.txt")], options);
  } catch (error) {
    throw new Error(`Python packages are missing; install as root: apt-get install -y python3-venv (${error.message})`);
  }
  return program;
}
