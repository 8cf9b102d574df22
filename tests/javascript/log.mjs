// What the library says about its work: kept, and printed only when a story has failed.

import { writeSync } from "node:fs";
import { format } from "node:util";

const LINES_SHOWN = 400;
const lines = [];

function keep(name, level, words) {
    lines.push(`${new Date().toISOString()} ${level} ${name}: ${format(...words)}`);
    if (lines.length > LINES_SHOWN) {
        lines.shift();
    }
}

/** A logger of the library's for the device of this name. */
export function logger(name) {
    const at = (level) => (...words) => keep(name, level, words);
    return {
        trace: () => {},
        debug: at("debug"),
        info: at("info"),
        log: at("info"),
        warn: at("warn"),
        error: at("error"),
        getChild: (part) => logger(`${name} ${part}`),
    };
}

// Some parts of the library know no device and talk to the console.
for (const level of ["debug", "info", "log", "warn", "error"]) {
    console[level] = (...words) => keep("library", level, words);
}
console.trace = () => {};

process.on("exit", (code) => {
    if (code !== 0) {
        writeSync(process.stderr.fd, `${lines.join("\n")}\n`);
    }
});
