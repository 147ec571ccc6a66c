// Waiting for conditions, never for luck.

/** Sleeps; only for measuring windows, where the time itself is the subject. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Calls check until it answers something truthy, and returns that.
 * Throws with `what` and the last thing seen when the deadline has passed.
 */
export async function until(check, { timeout = 10_000, every = 50, what = String(check) } = {}) {
  const deadline = performance.now() + timeout;
  let last;
  for (;;) {
    let error;
    try {
      last = await check();
      if (last) return last;
    } catch (err) {
      error = err;
    }
    if (performance.now() > deadline) {
      const seen = error ? `: ${error.message}` : `; last seen: ${JSON.stringify(last)}`;
      throw new Error(`not within ${timeout} ms: ${what}${seen}`, { cause: error });
    }
    await pause(every);
  }
}

/** Rejects with `what` when the promise takes longer than timeout. */
export async function within(promise, timeout, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${timeout} ms: ${what}`)), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
