// Rows of checks as tests/check.h has them: a sentence, and what was found where it fails.
import { isDeepStrictEqual } from 'node:util';

let passed = 0, failed = 0;

export function check(good, says, found) {
    if (good) { passed++; return; }
    failed++;
    console.log(`FAILED ${says}: ${typeof found === 'string' ? found : JSON.stringify(found)}`.slice(0, 600));
}

export const same = (found, wanted, says) => check(isDeepStrictEqual(found, wanted), says, { found, wanted });

// One client's row: what throws has failed, and the next row goes on.
export async function row(says, body) {
    try { await body((good, what, found) => check(good, `${says}: ${what}`, found)); }
    catch (error) { check(false, says, `${error?.name}: ${error?.message}\n${error?.stack?.split('\n')[1]}`); }
}

// The error that `body` ends with; null where it ends well.
export async function thrown(body) {
    try { await body(); return null; } catch (error) { return error; }
}

export function done() {
    console.log(`${passed} passed, ${failed} failed, 0 skipped`);
    process.exit(failed > 0 ? 1 : 0);
}
