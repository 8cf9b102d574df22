// Waiting for what comes with some later sync.

/** How long a device waits for what must come, in milliseconds. */
const PATIENCE = 60_000;

export function pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Calls `attempt` every 50 ms until it gives something that is true, and gives that.
 * Fails with `what` when nothing came in time.
 */
export async function eventually(what, attempt) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
        const found = await attempt();
        if (found) {
            return found;
        }
        if (Date.now() > deadline) {
            throw new Error(`not within ${PATIENCE / 1000} s: ${what}`);
        }
        await pause(50);
    }
}
