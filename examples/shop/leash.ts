/**
 * Loaded before every process of the demonstration (`--import`): when the process that built the world is gone without
 * having torn it down, nothing of it stays behind. A real service has no such thing.
 */
const owner = Number(process.env.SHOP_OWNER ?? 0)

function look(): void {
  try {
    process.kill(owner, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') process.kill(process.pid, 'SIGTERM')
  }
}

if (owner > 0) setInterval(look, 500).unref()
