// Texts that random walks of the mask made (build/release/tests/grammar/mask N FILE), each asked of ajv: walks.mjs FILE
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import Ajv2020 from "ajv/dist/2020.js";

let ajv, validate, schema, passed = 0, failed = 0, skipped = 0, beyond = 0;
for await (const line of createInterface({ input: createReadStream(process.argv[2]), crlfDelay: Infinity })) {
  if (line.startsWith("schema ")) {
    schema = line.slice(7);
    ajv = new Ajv2020.default({ strict: false, validateFormats: false, multipleOfPrecision: 9 });
    try {
      const parsed = JSON.parse(schema);
      if (parsed !== null && typeof parsed === "object") delete parsed.$schema;
      validate = ajv.compile(parsed);
    } catch (e) {
      validate = null; // what ajv does not know: asked of nobody
      skipped++;
      console.log(`skipped: ${schema.slice(0, 120)}: ${e.message.slice(0, 100)}`);
    }
    continue;
  }
  if (validate === null) continue;
  const text = Buffer.from(line, "hex").toString("utf8");
  let good = false;
  try {
    good = validate(JSON.parse(text));
  } catch (e) {
    validate.errors = [e.message];
  }
  // ajv reads numbers as doubles: beyond 2^53 it can not tell a multiple. Digits are the mask's business (tests/grammar).
  const only = (validate.errors ?? []).every((e) => e.keyword === "multipleOf" || e.keyword === "not");
  if (good) passed++;
  else if (only && schema.includes("multipleOf") && /\d{16}/.test(text)) beyond++;
  else if (failed++ < 10) console.log(`FAILED ${schema}: ${text}: ${JSON.stringify(validate.errors).slice(0, 200)}`);
}
console.log(`${beyond} multiples beyond 2^53 that ajv can not judge`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 ? 1 : 0);
